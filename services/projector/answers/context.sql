-- made --
-- When a decision was made, what it is about, what its deciders say they had seen, and whether it has given way since.
SELECT position, requirements, seen, valid_from, time, recorded_at,
       EXISTS (SELECT FROM {schema}.decision_supersessions WHERE decision = $2 AND position <= $1) AS superseded
  FROM {schema}.decisions_made
 WHERE decision = $2 AND position <= $1
 ORDER BY position DESC
 LIMIT 1;

-- proposed --
-- What a decision is about, as last proposed.
SELECT position, requirements
  FROM {schema}.decision_proposals
 WHERE decision = $2 AND position <= $1
 ORDER BY position DESC
 LIMIT 1;

-- states --
-- The recorded events at these positions.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE notification_id = ANY($1::bigint[]);

-- recorded_at --
-- When a position was recorded.
SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = $1;

-- asks --
-- Asks of these requirements, and those that were ever moved to one of them; withdrawals too.
SELECT position, valid_from, recorded_at, requirement, ask, account, importance, opportunity, feedback, needed_by
  FROM {schema}.asks
 WHERE position IN (
       SELECT position FROM {schema}.asks WHERE requirement = ANY($2::text[]) AND position <= $1
       UNION
       SELECT asks.position
         FROM {schema}.ask_moves AS moved
         JOIN {schema}.asks AS asks ON asks.requirement = moved.requirement AND asks.ask = moved.ask
        WHERE moved.moved_to = ANY($2::text[]) AND moved.position <= $1 AND asks.position <= $1);

-- about_requirements --
-- What else was said of these requirements ($2): what they are called, how far the work is, what each side says of
-- them, promises, merges, and moves of asks to and from them. `series`: what a row replaces the earlier rows of, of its
-- team if it has one (how teams are compared is not said here); an act has none, or says by its position that it is
-- another.
SELECT position, valid_from, recorded_at, jsonb_build_array('requirement', requirement)::text AS series,
       jsonb_build_array(title, area, CASE WHEN act THEN position END)::text AS content, NULL AS account, NULL AS team
  FROM {schema}.requirement_rows
 WHERE requirement = ANY($2::text[]) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('delivery', requirement)::text,
       jsonb_build_array(state, target)::text, NULL, NULL
  FROM {schema}.deliveries
 WHERE requirement = ANY($2::text[]) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('assessment', requirement)::text,
       jsonb_build_array(feasibility, effort, risks, plain)::text, NULL, by_team
  FROM {schema}.assessments
 WHERE requirement = ANY($2::text[]) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('perspective', requirement, decision)::text,
       jsonb_build_array(statement)::text, NULL, team
  FROM {schema}.perspectives
 WHERE requirement = ANY($2::text[]) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('promise', promise)::text,
       jsonb_build_array(account, requirement, opportunity, decision, due)::text, account, NULL
  FROM {schema}.promises_made
 WHERE position <= $1
   AND promise IN (SELECT promise FROM {schema}.promises_made WHERE requirement = ANY($2::text[]) AND position <= $1)
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('promise', promise)::text,
       jsonb_build_array(outcome, reason)::text, NULL, NULL
  FROM {schema}.promises_closed
 WHERE position <= $1
   AND promise IN (SELECT promise FROM {schema}.promises_made WHERE requirement = ANY($2::text[]) AND position <= $1)
UNION ALL
SELECT position, valid_from, recorded_at, NULL, NULL, NULL, NULL
  FROM {schema}.requirement_merges
 WHERE position IN (
       SELECT position FROM {schema}.requirement_merges WHERE requirement = ANY($2::text[]) AND position <= $1
       UNION
       SELECT position FROM {schema}.requirement_merges WHERE merged_into = ANY($2::text[]) AND position <= $1
       UNION
       SELECT apart.position
         FROM {schema}.requirement_merges AS merged
         JOIN {schema}.requirement_merges AS apart
           ON apart.requirement = merged.requirement AND apart.merged_into IS NULL
        WHERE merged.merged_into = ANY($2::text[]) AND merged.position <= $1 AND apart.position <= $1)
UNION ALL
SELECT position, valid_from, recorded_at, NULL, NULL, NULL, NULL
  FROM {schema}.ask_moves
 WHERE position IN (
       SELECT position FROM {schema}.ask_moves WHERE requirement = ANY($2::text[]) AND position <= $1
       UNION
       SELECT other.position
         FROM {schema}.ask_moves AS moved
         JOIN {schema}.ask_moves AS other ON other.requirement = moved.requirement AND other.ask = moved.ask
        WHERE moved.moved_to = ANY($2::text[]) AND moved.position <= $1 AND other.position <= $1);

-- agreed_and_decided --
-- What was agreed ($4, the agreement), and decided on these requirements ($2); of the decision itself ($3) what was
-- proposed before, and said of it since. All of it are acts.
WITH related (decision) AS (
    SELECT decision FROM {schema}.decision_requirements WHERE requirement = ANY($2::text[]) AND position <= $1
    UNION
    SELECT decision FROM {schema}.decision_proposals WHERE requirements && $2::text[] AND position <= $1
    UNION
    SELECT $3::text
)
SELECT position, valid_from, recorded_at
  FROM {schema}.agreement_revisions WHERE agreement = $4 AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.agreement_endorsements WHERE agreement = $4 AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.agreement_adoptions WHERE agreement = $4 AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.decision_proposals WHERE decision IN (SELECT decision FROM related) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.decisions_made
 WHERE decision IN (SELECT decision FROM related) AND decision <> $3 AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.decision_acknowledgements WHERE decision IN (SELECT decision FROM related) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.decision_reaffirmations WHERE decision IN (SELECT decision FROM related) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at
  FROM {schema}.decision_supersessions WHERE decision IN (SELECT decision FROM related) AND position <= $1
UNION
SELECT position, valid_from, recorded_at
  FROM {schema}.decision_supersessions WHERE superseded_by = $3 AND position <= $1;

-- about_accounts --
-- What systems say again and again about these accounts ($2, by all their names), without what only repeats what was
-- said before it and stands: aliases, and opportunities; also those that name one of these requirements ($3), and
-- these ($4). With them feedback ($5), and merges.
WITH said AS (
    SELECT position, valid_from, recorded_at, jsonb_build_array('alias', account, alias)::text COLLATE "C" AS series,
           '' AS content, account
      FROM {schema}.account_aliases
     WHERE (account = ANY($2::text[]) OR alias = ANY($2::text[])) AND position <= $1
    UNION ALL
    SELECT position, valid_from, recorded_at, jsonb_build_array('opportunity', opportunity)::text COLLATE "C",
           jsonb_build_array(account, stage, trim_scale(amount), currency, closes, ends, requirements,
                             closed_because)::text,
           account
      FROM {schema}.opportunity_rows
     WHERE position <= $1
       AND opportunity IN (
           SELECT opportunity FROM {schema}.opportunity_rows WHERE account = ANY($2::text[]) AND position <= $1
           UNION
           SELECT opportunity FROM {schema}.opportunity_rows WHERE requirements && $3::text[] AND position <= $1
           UNION
           SELECT unnest($4::text[]))
), compared AS (
    SELECT said.*, lag(content) OVER repeated AS content_before, lag(position) OVER repeated AS position_before
      FROM said
    WINDOW repeated AS (PARTITION BY series ORDER BY valid_from, position)
)
SELECT position, valid_from, recorded_at, series, content, account
  FROM compared
 WHERE content_before IS DISTINCT FROM content OR position_before > position
    OR EXISTS (SELECT FROM {schema}.retractions AS retraction
                WHERE retraction.retracted = position_before AND retraction.position <= $1)
UNION ALL
SELECT position, valid_from, recorded_at, jsonb_build_array('feedback', feedback)::text,
       jsonb_build_array(account, channel)::text, account
  FROM {schema}.feedback_rows
 WHERE feedback = ANY($5::text[]) AND position <= $1
UNION ALL
SELECT position, valid_from, recorded_at, NULL, NULL, NULL
  FROM {schema}.account_merges
 WHERE position IN (
       SELECT position FROM {schema}.account_merges WHERE account = ANY($2::text[]) AND position <= $1
       UNION
       SELECT position FROM {schema}.account_merges WHERE merged_into = ANY($2::text[]) AND position <= $1
       UNION
       SELECT apart.position
         FROM {schema}.account_merges AS merged
         JOIN {schema}.account_merges AS apart ON apart.account = merged.account AND apart.merged_into IS NULL
        WHERE merged.merged_into = ANY($2::text[]) AND merged.position <= $1 AND apart.position <= $1);

-- bullets --
-- The bullets of every revision of an agreement.
SELECT bullets FROM {schema}.agreement_revisions WHERE agreement = $2 AND position <= $1;

-- facts --
-- What was said of these attributes ($3) about these accounts ($2), without what only repeats what was said before it
-- and stands.
SELECT position, valid_from, recorded_at, account, attribute, value
  FROM (SELECT said.*, lag(value) OVER repeated AS value_before, lag(position) OVER repeated AS position_before
          FROM {schema}.account_facts AS said
         WHERE account = ANY($2::text[]) AND attribute = ANY($3::text[]) AND position <= $1
        WINDOW repeated AS (PARTITION BY account, attribute ORDER BY valid_from, position)) AS compared
 WHERE value_before IS DISTINCT FROM value OR position_before > position
    OR EXISTS (SELECT FROM {schema}.retractions AS retraction
                WHERE retraction.retracted = position_before AND retraction.position <= $1);

-- retractions --
-- What of this was retracted ($2, positions).
SELECT position, retracted, valid_from, recorded_at
  FROM {schema}.retractions
 WHERE retracted = ANY($2::bigint[]) AND position <= $1;
