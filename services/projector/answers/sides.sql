-- assessments --
-- What those who would build these requirements said of them, the latest last.
SELECT *
  FROM {schema}.assessments AS said
 WHERE position <= $1 AND {stands said} AND requirement = ANY($2::text[])
 ORDER BY valid_from, position;

-- perspectives --
-- What each side stated on these requirements, the latest last.
SELECT *
  FROM {schema}.perspectives AS said
 WHERE position <= $1 AND {stands said} AND requirement = ANY($2::text[])
 ORDER BY valid_from, position;
