-- deliveries --
-- How the delivery of each of these requirements stands.
SELECT DISTINCT ON (said.requirement) said.requirement, said.state, said.target, said.url,
       said.position AS delivery_position, said.time AS delivery_time
  FROM {schema}.deliveries AS said
 WHERE said.requirement = ANY($2::text[]) AND said.position <= $1 AND {stands said}
 ORDER BY said.requirement, said.valid_from DESC, said.position DESC;

-- promises --
-- The open promises about these requirements. What was said last of a promise is what counts.
SELECT last.promise, last.account, last.decision, last.due, last.position
  FROM (SELECT DISTINCT ON (said.promise) said.*
          FROM {schema}.promises_made AS said
         WHERE said.promise IN (SELECT promise FROM {schema}.promises_made
                                 WHERE requirement = ANY($2::text[]) AND position <= $1)
           AND said.position <= $1 AND {stands said}
         ORDER BY said.promise, said.valid_from DESC, said.position DESC) AS last
 WHERE last.requirement = ANY($2::text[])
   AND NOT EXISTS (SELECT FROM {schema}.promises_closed AS closed
                    WHERE closed.promise = last.promise AND closed.position <= $1 AND {stands closed})
 ORDER BY last.position;

-- given_way --
-- The decisions that gave way, from these on: each to the next, and that to the one after it.
WITH RECURSIVE given_way (decision, superseded_by, position) AS (
    SELECT said.decision, said.superseded_by, said.position
      FROM {schema}.decision_supersessions AS said
     WHERE said.decision = ANY($2::text[]) AND said.position <= $1
     UNION
    SELECT said.decision, said.superseded_by, said.position
      FROM given_way
      JOIN {schema}.decision_supersessions AS said ON said.decision = given_way.superseded_by
     WHERE said.position <= $1
)
SELECT * FROM given_way ORDER BY position;

-- proposed_on --
-- The decisions on one of these requirements that are proposed and not made, as last proposed.
SELECT last.decision, last.decide_by, last.position
  FROM (SELECT DISTINCT ON (decision) decision, requirements, decide_by, position
          FROM {schema}.decision_proposals
         WHERE position <= $1
           AND decision IN (SELECT decision FROM {schema}.decision_proposals
                             WHERE requirements && $2::text[] AND position <= $1)
         ORDER BY decision, position DESC) AS last
 WHERE last.requirements && $2::text[]
   AND NOT EXISTS (SELECT FROM {schema}.decisions_made AS made
                    WHERE made.decision = last.decision AND made.position <= $1)
 ORDER BY last.position;

-- merges --
-- The last merge of each of these requirements that is merged.
SELECT requirement, merged_into, position
  FROM (SELECT DISTINCT ON (requirement) requirement, merged_into, position
          FROM {schema}.requirement_merges
         WHERE requirement = ANY($2::text[]) AND position <= $1
         ORDER BY requirement, position DESC) AS last
 WHERE merged_into IS NOT NULL
 ORDER BY position;

-- made --
-- These decisions, as they were made.
SELECT * FROM {schema}.decisions_made WHERE decision = ANY($2::text[]) AND position <= $1 ORDER BY position;

-- events --
-- What the events at these positions are.
SELECT notification_id AS position, topic AS type, subject
  FROM {schema}.stored_events
 WHERE notification_id = ANY($2::bigint[]) AND notification_id <= $1
 ORDER BY notification_id;
