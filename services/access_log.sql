-- write --
-- What an answer is about to show. Number and clock are the database's.
INSERT INTO {schema}.access_log (key, service, method, path, person, positions, persons)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- kept --
-- Of how many events at these positions the keys are there.
SELECT count(*) FROM {schema}.sealing_keys WHERE position = ANY ($1::bigint[]);
