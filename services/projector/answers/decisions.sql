-- every_made --
-- Every made decision.
SELECT * FROM {schema}.decisions_made WHERE position <= $1 ORDER BY position;

-- made_on --
-- The made decisions on one of these requirements.
SELECT *
  FROM {schema}.decisions_made
 WHERE position IN (SELECT position FROM {schema}.decision_requirements
                     WHERE requirement = ANY($2::text[]) AND position <= $1)
 ORDER BY position;

-- made --
-- One decision, as it was made.
SELECT * FROM {schema}.decisions_made WHERE decision = $2 AND position <= $1 ORDER BY position;

-- every_proposed --
-- Every proposal.
SELECT * FROM {schema}.decision_proposals WHERE position <= $1 ORDER BY position;

-- every_reaffirmed --
-- What the reaffirmations of each decision come to: where the last is, and the latest time and the greatest cut of any.
SELECT DISTINCT ON (decision) decision, position,
       max(valid_from) OVER (PARTITION BY decision) AS latest,
       max(coalesce(seen, position - 1)) OVER (PARTITION BY decision) AS seen
  FROM {schema}.decision_reaffirmations
 WHERE position <= $1
 ORDER BY decision, position DESC;

-- every_superseded --
-- What decisions have given way to.
SELECT decision, superseded_by FROM {schema}.decision_supersessions WHERE position <= $1 ORDER BY position;

-- proposed --
-- The proposals of one decision.
SELECT * FROM {schema}.decision_proposals WHERE decision = $2 AND position <= $1 ORDER BY position;
