-- candidates --
-- The opportunities that may have been at stake in these decisions ($2, with their cuts $3 and times $4): those that at
-- some time named one of the requirements ($5 decision, $6 requirement), or that an ask on one of them names, or one of
-- these asks on others ($7 decision, $8 requirement, $9 ask). Of each the position of what counted for the deciders, and
-- of what counts now.
WITH decided AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[]) AS decided (decision, cut, valid_from)
), about AS (
    SELECT * FROM unnest($5::bigint[], $6::text[]) AS about (decision, requirement)
), named AS ( -- Joined once each, and not once for every night on which it was said again.
    SELECT DISTINCT named.requirement, said.opportunity
      FROM {schema}.opportunity_rows AS said
     CROSS JOIN LATERAL unnest(said.requirements) AS named (requirement)
       -- Of many names an index finds little less than all, and to compare each with each takes long.
     WHERE said.position <= $1 AND (cardinality($6::text[]) > 100 OR said.requirements && $6::text[])
    UNION
    SELECT said.requirement, said.opportunity
      FROM {schema}.asks AS said
     WHERE said.position <= $1 AND said.requirement = ANY($6::text[]) AND said.opportunity IS NOT NULL
), candidates AS (
    SELECT about.decision, named.opportunity
      FROM about
      JOIN named USING (requirement)
    UNION
    SELECT alone.decision, said.opportunity
      FROM unnest($7::bigint[], $8::text[], $9::text[]) AS alone (decision, requirement, ask)
      JOIN {schema}.asks AS said ON said.requirement = alone.requirement AND said.ask = alone.ask
     WHERE said.position <= $1 AND said.opportunity IS NOT NULL
)
SELECT candidates.decision, candidates.opportunity, known.position AS then_position, standing.position AS now_position
  FROM candidates
  JOIN decided USING (decision)
  LEFT JOIN LATERAL (
       SELECT said.position
         FROM {schema}.opportunity_rows AS said
        WHERE said.opportunity = candidates.opportunity
          AND said.position <= decided.cut
          AND said.valid_from <= decided.valid_from
          AND NOT EXISTS (SELECT FROM {schema}.retractions AS retraction
                           WHERE retraction.retracted = said.position AND retraction.position <= decided.cut)
        ORDER BY said.valid_from DESC, said.position DESC
        LIMIT 1) AS known ON true
  LEFT JOIN LATERAL (
       SELECT said.position
         FROM {schema}.opportunity_rows AS said
        WHERE said.opportunity = candidates.opportunity AND said.position <= $1 AND {stands said}
        ORDER BY said.valid_from DESC, said.position DESC
        LIMIT 1) AS standing ON true
 WHERE known.position IS NOT NULL OR standing.position IS NOT NULL
 ORDER BY candidates.decision, candidates.opportunity;

-- states --
-- What was said of opportunities at these positions.
SELECT opportunity, account, stage, amount, currency, kind, closes, ends, closed_because, requirements, position
  FROM {schema}.opportunity_rows
 WHERE position = ANY($1::bigint[]);

-- asked_for --
-- Which recordings of asks on these requirements ($2), and of these asks on others ($3, $4), name an opportunity.
SELECT said.position, said.ask, said.opportunity
  FROM {schema}.asks AS said
 WHERE said.position <= $1 AND said.requirement = ANY($2::text[]) AND said.opportunity IS NOT NULL
UNION
SELECT said.position, said.ask, said.opportunity
  FROM unnest($3::text[], $4::text[]) AS alone (requirement, ask)
  JOIN {schema}.asks AS said ON said.requirement = alone.requirement AND said.ask = alone.ask
 WHERE said.position <= $1 AND said.opportunity IS NOT NULL;
