-- lock --
-- One process at a time adds, so that the bounds hold. Whoever reads is not kept waiting.
LOCK TABLE {schema}.refusals IN SHARE ROW EXCLUSIVE MODE;

-- known --
-- The spots of these sources that are counted already.
SELECT day, source, type, problem, pointer
  FROM {schema}.refusals
 WHERE day = ANY ($1::date[]) AND source = ANY ($2::text[]);

-- sources --
-- The sources that are counted on these days.
SELECT DISTINCT day, source
  FROM {schema}.refusals
 WHERE day = ANY ($1::date[]);

-- add --
-- Add to the counts.
INSERT INTO {schema}.refusals AS r (day, source, type, problem, pointer, count, last, message)
SELECT *
  FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
              $8::text[])
    ON CONFLICT ON CONSTRAINT refusals_counted_once
    DO UPDATE SET count = r.count + excluded.count, last = greatest(r.last, excluded.last),
                  message = excluded.message;

-- forget --
-- Drop the days up to this one.
DELETE FROM {schema}.refusals WHERE day <= $1;
