-- acknowledgements --
-- Which teams have taken note of these decisions ($2), or of all.
SELECT * FROM {schema}.decision_acknowledgements
 WHERE position <= $1 AND ($2::text[] IS NULL OR decision = ANY($2::text[]))
 ORDER BY position;

-- reaffirmations --
-- When these decisions ($2), or any, were said to stand.
SELECT * FROM {schema}.decision_reaffirmations
 WHERE position <= $1 AND ($2::text[] IS NULL OR decision = ANY($2::text[]))
 ORDER BY position;

-- supersessions --
-- What these decisions ($2), or any, have given way to, and what has given way to them.
SELECT * FROM {schema}.decision_supersessions
 WHERE position <= $1
   AND ($2::text[] IS NULL OR decision = ANY($2::text[]) OR superseded_by = ANY($2::text[]))
 ORDER BY position;

-- chains --
-- What these decisions ($2) have given way to, and that in its turn.
WITH RECURSIVE chains (decision) AS (
    SELECT unnest($2::text[]) COLLATE "C"
    UNION
    SELECT said.superseded_by
      FROM chains
      JOIN {schema}.decision_supersessions AS said ON said.decision = chains.decision
     WHERE said.position <= $1
)
SELECT said.position, said.valid_from, said.decision, said.superseded_by
  FROM chains
  JOIN {schema}.decision_supersessions AS said USING (decision)
 WHERE said.position <= $1
 ORDER BY said.position;
