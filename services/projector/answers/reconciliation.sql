-- latest --
-- Of each source, type and period the latest count of each who states one: their positions, the latest first.
SELECT position
  FROM (SELECT DISTINCT ON (stated_by, source, type, period_from, period_to) position, valid_from
          FROM {schema}.reconciliations AS said
         WHERE position <= $1 AND {stands said}
           AND ($2::text IS NULL OR source = $2)
           AND ($3::text IS NULL OR type = $3)
           AND ($4::timestamptz IS NULL OR period_to > $4)
           AND ($5::timestamptz IS NULL OR period_from < $5)
         ORDER BY stated_by, source, type, period_from, period_to, valid_from DESC, position DESC) AS stated
 ORDER BY valid_from DESC, position DESC;

-- compared --
-- The counts that were stated at the positions $2, with what is here; $3 are the types that have an amount.
SELECT stated.*, here_count, here_sum, here_sum - sum AS sum_difference,
       here_count = count AND (sum IS NULL OR coalesce(here_sum = sum, false)) AS agrees
  FROM {schema}.reconciliations AS stated
 CROSS JOIN LATERAL (
       SELECT count(*) AS here_count,
              CASE WHEN stated.type = ANY($3::text[]) THEN coalesce(sum(amount), 0) END AS here_sum
         FROM {schema}.emissions AS emitted
        WHERE emitted.source = stated.source AND emitted.type = stated.type
          AND emitted.time >= stated.period_from AND emitted.time < stated.period_to
          AND emitted.position <= $1) AS here
 WHERE stated.position = ANY($2::bigint[])
 ORDER BY valid_from DESC, position DESC;
