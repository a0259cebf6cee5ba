-- every_account --
-- Every account that was mentioned: profiled, asking, or with an opportunity.
SELECT account FROM {schema}.account_mentions WHERE position <= $1
UNION
SELECT account FROM {schema}.asks WHERE position <= $1 AND account IS NOT NULL
UNION
SELECT account FROM {schema}.opportunity_rows WHERE position <= $1;

-- is_known --
-- Whether one account was mentioned.
SELECT EXISTS (SELECT FROM {schema}.account_mentions WHERE account = $2 AND position <= $1)
    OR EXISTS (SELECT FROM {schema}.asks WHERE account = $2 AND position <= $1)
    OR EXISTS (SELECT FROM {schema}.opportunity_rows WHERE account = $2 AND position <= $1) AS known;

-- profile --
-- What is known of one account now: the latest value of each attribute, also one that is unknown again.
SELECT DISTINCT ON (attribute) attribute, value
  FROM {schema}.account_facts
 WHERE account = $2 AND position <= $1
 ORDER BY attribute, valid_from DESC, position DESC;

-- facts --
-- The facts about one account that were recorded last, with both times.
SELECT attribute, value, position, valid_from, time, recorded_at
  FROM {schema}.account_facts
 WHERE account = $2 AND position <= $1
 ORDER BY position DESC, attribute
 LIMIT $3;

-- asks --
-- The asks of one account that stand, in their latest state, with their first recordings and what the requirement is
-- called.
WITH recorded AS (
    SELECT DISTINCT ON (requirement, ask) *,
           first_value(valid_from) OVER recordings AS first_valid_from,
           first_value(position) OVER recordings AS first_position,
           first_value(time) OVER recordings AS first_time,
           first_value(recorded_at) OVER recordings AS first_recorded_at
      FROM {schema}.asks
     WHERE account = $2 AND position <= $1
    WINDOW recordings AS (PARTITION BY requirement, ask ORDER BY valid_from, position)
     ORDER BY requirement, ask, valid_from DESC, position DESC
)
SELECT recorded.*,
       (SELECT title FROM {schema}.requirement_rows AS said
         WHERE said.requirement = recorded.requirement AND said.position <= $1 AND title IS NOT NULL
         ORDER BY said.valid_from DESC, said.position DESC
         LIMIT 1) AS title
  FROM recorded
 WHERE NOT EXISTS (
       SELECT FROM {schema}.asks AS ended
        WHERE ended.withdrawn AND ended.position <= $1
          AND ended.requirement = recorded.requirement AND ended.ask = recorded.ask
          AND (ended.valid_from, ended.position) > (recorded.valid_from, recorded.position))
 ORDER BY recorded.first_position;
