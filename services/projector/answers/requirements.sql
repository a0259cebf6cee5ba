-- headers_of --
-- Of these requirements ($2) every one that was raised or asked for: its latest title and area, its delivery, and the
-- last position at which anything was said about it. What was only delivered, reworded, decided on or withdrawn is none.
WITH said AS (
    SELECT requirement,
           (array_agg(title ORDER BY valid_from DESC, position DESC) FILTER (WHERE title IS NOT NULL))[1] AS title,
           (array_agg(area ORDER BY valid_from DESC, position DESC) FILTER (WHERE area IS NOT NULL))[1] AS area,
           max(position) AS position,
           bool_or(NOT act) AS raised
      FROM {schema}.requirement_rows AS each
     WHERE position <= $1 AND {stands each} AND requirement = ANY($2::text[])
     GROUP BY requirement
), asked AS (
    SELECT requirement, max(position) AS position, bool_or(NOT withdrawn) AS recorded
      FROM {schema}.asks AS each
     WHERE position <= $1 AND {stands each} AND requirement = ANY($2::text[])
     GROUP BY requirement
), delivered AS (
    SELECT DISTINCT ON (requirement) requirement, state, target, url, position, time,
           max(position) OVER (PARTITION BY requirement) AS last
      FROM {schema}.deliveries AS each
     WHERE position <= $1 AND {stands each} AND requirement = ANY($2::text[])
     ORDER BY requirement, valid_from DESC, position DESC
), decided AS (
    SELECT requirement, max(position) AS position
      FROM {schema}.decision_requirements
     WHERE position <= $1 AND requirement = ANY($2::text[])
     GROUP BY requirement
)
SELECT requirement, said.title, said.area,
       delivered.state, delivered.target, delivered.url,
       delivered.position AS delivery_position, delivered.time AS delivery_time,
       decided.position AS decision_position,
       greatest(said.position, asked.position, delivered.last, decided.position) AS last
  FROM said
  FULL JOIN asked USING (requirement)
  LEFT JOIN delivered USING (requirement)
  LEFT JOIN decided USING (requirement)
 WHERE said.raised OR asked.recorded
 ORDER BY requirement;
