-- taken_up --
-- The feedback that the asks at these positions refer to.
SELECT DISTINCT feedback FROM {schema}.asks WHERE position = ANY($1::bigint[]) AND feedback IS NOT NULL;

-- inbox --
-- Feedback as it was said last, the newest first; of accounts of these names ($2), on these channels ($3), without what
-- asks have taken up ($4).
WITH inbox AS MATERIALIZED (
    SELECT said.position, said.valid_from
      FROM {schema}.feedback_rows AS said
     WHERE said.position <= $1 AND {stands said}
       AND ($2::text[] IS NULL OR said.account = ANY($2::text[]))
       AND ($3::text[] IS NULL OR said.channel = ANY($3::text[]))
       AND NOT EXISTS (SELECT FROM unnest($4::text[]) AS taken_up (feedback) WHERE taken_up.feedback = said.feedback)
       AND NOT EXISTS (
           SELECT FROM {schema}.feedback_rows AS later
            WHERE later.feedback = said.feedback AND later.position <= $1 AND {stands later}
              AND (later.valid_from, later.position) > (said.valid_from, said.position))
)
SELECT counted.total, said.*
  FROM (SELECT count(*) AS total FROM inbox) AS counted
  LEFT JOIN (SELECT position FROM inbox ORDER BY valid_from DESC, position DESC LIMIT $6 OFFSET $5) AS page ON true
  LEFT JOIN {schema}.feedback_rows AS said USING (position)
 ORDER BY said.valid_from DESC, said.position DESC;

-- accounts --
-- The names of accounts that any feedback has.
SELECT DISTINCT account FROM {schema}.feedback_rows WHERE position <= $1 AND account IS NOT NULL;

-- channels --
-- The channels that any feedback came by.
SELECT DISTINCT channel FROM {schema}.feedback_rows WHERE position <= $1 AND channel IS NOT NULL;

-- currencies --
-- The currencies that any opportunity has.
SELECT DISTINCT currency
  FROM {schema}.opportunity_rows AS said
 WHERE position <= $1 AND amount IS NOT NULL AND {stands said}
 ORDER BY currency;
