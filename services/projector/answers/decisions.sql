-- every_made --
-- Every made decision.
SELECT * FROM {schema}.decisions_made WHERE position <= $1 ORDER BY position;

-- made_on --
-- The made decisions on one requirement.
SELECT made.*
  FROM {schema}.decision_requirements AS about
  JOIN {schema}.decisions_made AS made USING (position)
 WHERE about.requirement = $2 AND about.position <= $1
 ORDER BY position;

-- made --
-- One decision, as it was made.
SELECT * FROM {schema}.decisions_made WHERE decision = $2 AND position <= $1 ORDER BY position;

-- every_proposed --
-- Every proposal.
SELECT * FROM {schema}.decision_proposals WHERE position <= $1 ORDER BY position;

-- proposed --
-- The proposals of one decision.
SELECT * FROM {schema}.decision_proposals WHERE decision = $2 AND position <= $1 ORDER BY position;
