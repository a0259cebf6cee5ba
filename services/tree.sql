-- leaves --
-- The leaf hashes of the events at positions above $1, in order, at most $2. Positions have no gaps: between two of them
-- there are so many rows, which even a plan made without statistics knows to be few.
SELECT leaf_hash
  FROM {schema}.stored_events
 WHERE notification_id > $1 AND notification_id <= $1 + $2::bigint
 ORDER BY notification_id;

-- size --
-- How many leaves there could be: the last position of the log.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- tiles --
-- Full tiles, by level and number.
SELECT t.level, t.number, t.hashes
  FROM unnest($1::smallint[], $2::bigint[]) AS wanted (level, number)
  JOIN {schema}.tree_tiles AS t ON t.level = wanted.level AND t.number = wanted.number;

-- tile_hashes --
-- The hashes of the full tiles of a level from number $2 on, in order, at most $3.
SELECT hash
  FROM {schema}.tree_tiles
 WHERE level = $1 AND number >= $2 AND number < $2 + $3::bigint
 ORDER BY number;

-- add_tiles --
-- Keep tiles that have become full.
INSERT INTO {schema}.tree_tiles (level, number, hash, hashes)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::bytea[]);

-- last_full --
-- How many tiles of leaves are full: the last one and all before it.
SELECT coalesce(max(number) + 1, 0) FROM {schema}.tree_tiles WHERE level = 0;

-- add_checkpoint --
-- Keep a checkpoint.
INSERT INTO {schema}.checkpoints (size, note, made_at) VALUES ($1, $2, clock_timestamp());

-- know_keys --
-- Keep the keys that sign.
INSERT INTO {schema}.verifier_keys (key, known_from)
SELECT key, clock_timestamp() FROM unnest($1::text[]) AS signing (key)
    ON CONFLICT DO NOTHING;

-- verifier_keys --
-- The keys that have signed.
SELECT key FROM {schema}.verifier_keys ORDER BY known_from, key;

-- digest_keys --
-- The keys that have signed digests of read models.
SELECT key FROM {schema}.digest_keys ORDER BY known_from, key;

-- last_checkpoint --
-- The latest checkpoint of at most so many events.
SELECT size, note FROM {schema}.checkpoints WHERE size <= $1 ORDER BY size DESC LIMIT 1;

-- first_checkpoint --
-- The first checkpoint that has a position.
SELECT size, note FROM {schema}.checkpoints WHERE size >= $1 ORDER BY size LIMIT 1;

-- entries --
-- The stored bytes at the positions above $1, in order, at most $2.
SELECT state
  FROM {schema}.stored_events
 WHERE notification_id > $1 AND notification_id <= $1 + $2::bigint
 ORDER BY notification_id;

-- checkpoint --
-- The checkpoint of a size.
SELECT size, note FROM {schema}.checkpoints WHERE size = $1;

-- to_timestamp --
-- The latest checkpoint, if it has no timestamp, and the last one was made more than $1 seconds ago.
SELECT c.size, c.note
  FROM (SELECT size, note FROM {schema}.checkpoints ORDER BY size DESC LIMIT 1) AS c
 WHERE NOT EXISTS (
           SELECT FROM {schema}.timestamps
            WHERE size = c.size OR made_at > clock_timestamp() - make_interval(secs => $1)
       );

-- add_timestamp --
-- Keep the timestamp of a checkpoint.
INSERT INTO {schema}.timestamps (size, response, made_at) VALUES ($1, $2, clock_timestamp());

-- last_timestamp --
-- The latest timestamp.
SELECT size, response FROM {schema}.timestamps ORDER BY size DESC LIMIT 1;

-- timestamp --
-- The timestamp of a checkpoint.
SELECT size, response FROM {schema}.timestamps WHERE size = $1;
