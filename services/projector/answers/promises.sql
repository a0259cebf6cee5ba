-- made --
-- Each promise as it was said last, with when it was said first.
SELECT DISTINCT ON (promise) promise, account, requirement, opportunity, decision, due, by_role, by_team, by_person,
       position, time,
       first_value(position) OVER recordings AS first_position,
       first_value(valid_from) OVER recordings AS first_valid_from,
       first_value(time) OVER recordings AS first_time,
       first_value(recorded_at) OVER recordings AS first_recorded_at
  FROM {schema}.promises_made AS said
 WHERE position <= $1 AND {stands said}
WINDOW recordings AS (PARTITION BY promise ORDER BY valid_from, position)
 ORDER BY promise, valid_from DESC, position DESC;

-- first_made --
-- When each promise was made.
SELECT promise, min(valid_from) AS made
  FROM {schema}.promises_made AS said
 WHERE position <= $1 AND {stands said}
 GROUP BY promise;

-- closed --
-- How each promise ended, as it was said last.
SELECT DISTINCT ON (promise) promise, outcome, reason, by_role, by_team, by_person, position, time, recorded_at
  FROM {schema}.promises_closed AS said
 WHERE position <= $1 AND {stands said}
 ORDER BY promise, valid_from DESC, position DESC;

-- assessed --
-- What teams said of these requirements, retracted or not.
SELECT position, {until said} AS until, valid_from, requirement, by_team AS team, feasibility
  FROM {schema}.assessments AS said
 WHERE position <= $1 AND requirement = ANY($2::text[]);
