-- adoptions --
-- Every revision of the target market that was adopted, with what it says.
SELECT a.in_force_from, a.position, r.agreement, r.revision, r.title, r.stage, r.threshold, r.bullets
  FROM {schema}.agreement_adoptions AS a
  JOIN LATERAL (SELECT *
                  FROM {schema}.agreement_revisions AS revised
                 WHERE revised.agreement = a.agreement AND revised.revision = a.revision AND revised.position <= a.position
                 ORDER BY revised.position DESC
                 LIMIT 1) AS r ON true
 WHERE a.agreement = $2 AND a.position <= $1
 ORDER BY a.position;

-- facts --
-- What was said of these attributes, about any account.
SELECT account, attribute, value, valid_from, position, {until said} AS until
  FROM {schema}.account_facts AS said
 WHERE position <= $1 AND attribute = ANY($2::text[]);

-- facts_of --
-- What was said of these attributes, about these accounts.
SELECT said.account, said.attribute, said.value, said.valid_from, said.position, retraction.position AS until
  FROM {schema}.account_facts AS said
  LEFT JOIN {schema}.retractions AS retraction ON retraction.retracted = said.position
 WHERE said.position <= $1 AND said.attribute = ANY($2::text[]) AND said.account = ANY($3::text[]);

-- accounts_around --
-- What was said of the names that are connected with these ($2): the first claims of each alias, those that were
-- retracted, and merges.
WITH RECURSIVE around (name) AS (
    SELECT unnest($2::text[]) COLLATE "C"
    UNION
    SELECT near.name
      FROM around
     CROSS JOIN LATERAL (
           SELECT alias FROM {schema}.account_aliases WHERE account = around.name AND position <= $1
           UNION ALL
           SELECT account FROM {schema}.account_aliases WHERE alias = around.name AND position <= $1
           UNION ALL
           SELECT merged_into FROM {schema}.account_merges
            WHERE account = around.name AND merged_into IS NOT NULL AND position <= $1
           UNION ALL
           SELECT account FROM {schema}.account_merges WHERE merged_into = around.name AND position <= $1
           ) AS near (name)
)
-- Name by name: few are connected, and the planner cannot know it.
SELECT claim.*
  FROM around
 CROSS JOIN LATERAL (
       (SELECT DISTINCT ON (alias) position, valid_from, account AS name, alias AS other, false AS merge,
               NULL::bigint AS until
          FROM {schema}.account_aliases AS said
         WHERE account = around.name AND position <= $1 AND {stands said}
         ORDER BY alias, position)
       UNION ALL
       SELECT position, valid_from, account, alias, false, {until said}
         FROM {schema}.account_aliases AS said
        WHERE account = around.name AND position <= $1 AND NOT {stands said}
       UNION ALL
       SELECT position, valid_from, account, merged_into, true, NULL
         FROM {schema}.account_merges
        WHERE account = around.name AND position <= $1
       ) AS claim;

-- accounts_everywhere --
-- The same of all names.
(SELECT DISTINCT ON (account, alias) position, valid_from, account AS name, alias AS other, false AS merge,
        NULL::bigint AS until
   FROM {schema}.account_aliases AS said
  WHERE position <= $1 AND {stands said}
  ORDER BY account, alias, position)
UNION ALL
SELECT position, valid_from, account, alias, false, {until said}
  FROM {schema}.account_aliases AS said
 WHERE position <= $1 AND NOT {stands said}
UNION ALL
SELECT position, valid_from, account, merged_into, true, NULL
  FROM {schema}.account_merges
 WHERE position <= $1;

-- requirements_everywhere --
-- Every merge of requirements.
SELECT position, valid_from, requirement, merged_into
  FROM {schema}.requirement_merges
 WHERE position <= $1;

-- requirements_around --
-- The merges of the requirements that are connected with these ($2).
WITH RECURSIVE around (name) AS (
    SELECT unnest($2::text[]) COLLATE "C"
    UNION
    SELECT near.name
      FROM around
     CROSS JOIN LATERAL (
           SELECT merged_into FROM {schema}.requirement_merges
            WHERE requirement = around.name AND merged_into IS NOT NULL AND position <= $1
           UNION ALL
           SELECT requirement FROM {schema}.requirement_merges WHERE merged_into = around.name AND position <= $1
           ) AS near (name)
)
SELECT said.*
  FROM around
 CROSS JOIN LATERAL (SELECT position, valid_from, requirement, merged_into
                       FROM {schema}.requirement_merges
                      WHERE requirement = around.name AND position <= $1
                     OFFSET 0) AS said;

-- moves --
-- Every move of an ask, in order.
SELECT position, valid_from, requirement, ask, moved_to
  FROM {schema}.ask_moves
 WHERE position <= $1
 ORDER BY position;

-- moves_around --
-- Every move of the asks that were ever moved from or to one of these requirements ($2), in order.
WITH moved (ask) AS (
    SELECT ask FROM {schema}.ask_moves WHERE position <= $1 AND requirement = ANY($2::text[])
    UNION
    SELECT ask FROM {schema}.ask_moves WHERE position <= $1 AND moved_to = ANY($2::text[])
)
SELECT said.*
  FROM moved
 CROSS JOIN LATERAL (SELECT position, valid_from, requirement, ask, moved_to
                       FROM {schema}.ask_moves
                      WHERE ask = moved.ask AND position <= $1
                     OFFSET 0) AS said
 ORDER BY said.position;

-- moves_of --
-- The same of the asks that have one of these ids ($3): of few, where many were moved.
WITH wanted (ask) AS (SELECT DISTINCT unnest($3::text[]) COLLATE "C"), said AS (
    SELECT move.*
      FROM wanted
     CROSS JOIN LATERAL (SELECT position, valid_from, requirement, ask, moved_to
                           FROM {schema}.ask_moves
                          WHERE ask = wanted.ask AND position <= $1
                         OFFSET 0) AS move
)
SELECT *
  FROM said
 WHERE ask IN (SELECT ask FROM said WHERE requirement = ANY($2::text[]) OR moved_to = ANY($2::text[]))
 ORDER BY position;

-- live_asks --
-- Every ask that stands, in its latest state, with its first recording; which those are is said at lenses.live_asks.
-- What names stand for is given: of asks that moved ($2 requirement, $3 ask, $4 where they are), of merged requirements
-- ($5, $6), of accounts ($7, $8). $9: only of ids under which feedback was ever referred to.
WITH said AS (
    SELECT coalesce(merged.root, moved.place, asks.requirement) AS requirement,
           coalesce(moved.place, asks.requirement) AS place, asks.ask,
           coalesce(named.root, asks.account) AS account,
           asks.importance, asks.valid_from, asks.position, asks.withdrawn, asks.requirement AS recorded_on
      FROM {schema}.asks AS asks
      LEFT JOIN unnest($2::text[], $3::text[], $4::text[]) AS moved (requirement, ask, place)
        ON moved.requirement = asks.requirement AND moved.ask = asks.ask
      LEFT JOIN unnest($5::text[], $6::text[]) AS merged (requirement, root)
        ON merged.requirement = coalesce(moved.place, asks.requirement)
      LEFT JOIN unnest($7::text[], $8::text[]) AS named (account, root) ON named.account = asks.account
     WHERE asks.position <= $1 AND {stands asks}
       AND (NOT $9 OR asks.ask IN (SELECT ask FROM {schema}.asks WHERE feedback IS NOT NULL AND position <= $1))
), recorded AS (
    SELECT DISTINCT ON (place, ask, account) requirement, ask, account, importance, valid_from, position,
           first_value(valid_from) OVER recordings AS first_valid_from,
           first_value(position) OVER recordings AS first_position,
           recorded_on, place
      FROM said
     WHERE NOT withdrawn
    WINDOW recordings AS (PARTITION BY place, ask, account ORDER BY valid_from, position)
     ORDER BY place, ask, account, valid_from DESC, position DESC
), named_so AS ( -- Of ids that were ever withdrawn: each ask, and each requirement on which it was recorded.
    SELECT DISTINCT requirement, place, ask, account, recorded_on
      FROM said
     WHERE NOT withdrawn AND ask IN (SELECT ask FROM {schema}.asks WHERE withdrawn AND position <= $1)
), meant AS ( -- Of each withdrawal the asks that it means, by how nearly its name is theirs.
    SELECT said.valid_from, said.position AS withdrawn_at, named_so.place, named_so.ask, named_so.account,
           CASE WHEN bool_or(named_so.recorded_on = said.recorded_on) THEN 1
                WHEN named_so.place = said.recorded_on THEN 2
                ELSE 3 END AS nearness
      FROM said
      JOIN named_so ON named_so.ask = said.ask
                   AND (named_so.recorded_on = said.recorded_on OR named_so.place = said.recorded_on
                        OR named_so.requirement = said.requirement)
     WHERE said.withdrawn
     GROUP BY said.valid_from, said.position, said.recorded_on, named_so.place, named_so.ask, named_so.account
), ended AS (
    SELECT recorded.position
      FROM (SELECT meant.*, min(nearness) OVER (PARTITION BY withdrawn_at) AS nearest FROM meant) AS meant
      JOIN recorded USING (place, ask, account)
     WHERE meant.nearness = meant.nearest
       AND (meant.valid_from, meant.withdrawn_at) > (recorded.valid_from, recorded.position)
)
SELECT requirement, ask, account, importance, valid_from, position, NULL::bigint AS until, first_valid_from,
       first_position, recorded_on
  FROM recorded
 WHERE position NOT IN (SELECT position FROM ended);

-- ask_rows --
-- All that was said about asks of these requirements ($2), and of single asks on others ($3, $4); withdrawals too.
SELECT requirement, ask, account, coalesce(importance, 0) AS importance, valid_from, position, {until said} AS until
  FROM {schema}.asks AS said
 WHERE position <= $1 AND requirement = ANY($2::text[])
UNION ALL
SELECT said.requirement, said.ask, said.account, coalesce(said.importance, 0), said.valid_from, said.position,
       {until said}
  FROM unnest($3::text[], $4::text[]) AS alone (requirement, ask)
  JOIN {schema}.asks AS said ON said.requirement = alone.requirement AND said.ask = alone.ask
 WHERE said.position <= $1;

-- names --
-- What each account is called.
SELECT DISTINCT ON (account) account, name, valid_from, position
  FROM {schema}.account_names AS said
 WHERE position <= $1 AND {stands said}
 ORDER BY account, valid_from DESC, position DESC;

-- names_of --
-- What these accounts are called.
SELECT said.*
  FROM (SELECT DISTINCT unnest($2::text[]) COLLATE "C" AS account) AS wanted
 CROSS JOIN LATERAL (
       SELECT account, name, valid_from, position
         FROM {schema}.account_names AS said
        WHERE account = wanted.account AND position <= $1 AND {stands said}
        ORDER BY valid_from DESC, position DESC
        LIMIT 1) AS said;

-- revenue --
-- Each account's revenue: won opportunities that have not ended by $2, and open ones.
WITH latest AS (
    SELECT DISTINCT ON (opportunity) account, stage, amount, currency, ends
      FROM {schema}.opportunity_rows AS said
     WHERE position <= $1 AND {stands said}
     ORDER BY opportunity, valid_from DESC, position DESC
)
SELECT account, currency,
       sum(amount) FILTER (WHERE stage = 'won') AS contracted,
       sum(amount) FILTER (WHERE stage = 'open') AS pipeline
  FROM latest
 WHERE amount IS NOT NULL AND (stage = 'open' OR stage = 'won' AND (ends IS NULL OR ends >= $2::date))
 GROUP BY account, currency;

-- revenue_of --
-- The same for these accounts. An opportunity counts for the account that it is with now.
WITH near AS (
    SELECT DISTINCT opportunity FROM {schema}.opportunity_rows WHERE account = ANY($3::text[])
)
-- Opportunity by opportunity: few are near, and the planner, which cannot know it, would read all that was ever said.
SELECT account, currency,
       sum(amount) FILTER (WHERE stage = 'won') AS contracted,
       sum(amount) FILTER (WHERE stage = 'open') AS pipeline
  FROM near
 CROSS JOIN LATERAL (
       SELECT account, stage, amount, currency, ends
         FROM {schema}.opportunity_rows AS said
        WHERE opportunity = near.opportunity AND position <= $1 AND {stands said}
        ORDER BY valid_from DESC, position DESC
        LIMIT 1) AS latest
 WHERE account = ANY($3::text[])
   AND amount IS NOT NULL AND (stage = 'open' OR stage = 'won' AND (ends IS NULL OR ends >= $2::date))
 GROUP BY account, currency;

-- may_be_at_stake --
-- The same for each opportunity that names one of these requirements now ($3), or that one of these recordings of asks
-- ($4, positions) names: `by_requirement`, and `by_asks` (positions).
WITH near AS (
    SELECT opportunity, array_agg(ask) FILTER (WHERE ask IS NOT NULL) AS by_asks
      FROM (SELECT opportunity, NULL::bigint AS ask FROM {schema}.opportunity_rows WHERE requirements && $3::text[]
            UNION ALL
            SELECT opportunity, position
              FROM {schema}.asks WHERE position = ANY($4::bigint[]) AND opportunity IS NOT NULL) AS named
     GROUP BY opportunity
)
SELECT account, currency, requirements && $3::text[] AS by_requirement, coalesce(by_asks, '{}') AS by_asks,
       CASE WHEN stage = 'won' THEN amount END AS contracted,
       CASE WHEN stage = 'open' THEN amount END AS pipeline
  FROM near
 CROSS JOIN LATERAL (
       SELECT account, stage, amount, currency, ends, requirements
         FROM {schema}.opportunity_rows AS said
        WHERE opportunity = near.opportunity AND position <= $1 AND {stands said}
        ORDER BY valid_from DESC, position DESC
        LIMIT 1) AS latest
 WHERE (requirements && $3::text[] OR by_asks IS NOT NULL)
   AND amount IS NOT NULL AND (stage = 'open' OR stage = 'won' AND (ends IS NULL OR ends >= $2::date));

-- every_account --
-- Every name of an account that was mentioned: profiled, identified, merged, asking, with an opportunity or feedback.
SELECT account FROM {schema}.account_mentions AS said WHERE position <= $1 AND {stands said}
UNION
SELECT account FROM {schema}.asks AS said WHERE position <= $1 AND account IS NOT NULL AND {stands said}
UNION
SELECT account FROM {schema}.opportunity_rows AS said WHERE position <= $1 AND {stands said}
UNION
SELECT account FROM {schema}.feedback_rows AS said WHERE position <= $1 AND account IS NOT NULL AND {stands said};

-- titles --
-- What these requirements are called, and what said so.
SELECT said.*
  FROM (SELECT DISTINCT unnest($2::text[]) COLLATE "C" AS requirement) AS wanted
 CROSS JOIN LATERAL (
       SELECT requirement, title, act, position
         FROM {schema}.requirement_rows AS said
        WHERE requirement = wanted.requirement AND position <= $1 AND title IS NOT NULL AND {stands said}
        ORDER BY valid_from DESC, position DESC
        LIMIT 1) AS said;

-- is_there --
-- Whether a requirement was raised or asked for, as far as that stands, or an act has put something there: a decision, a
-- merge or a move stays in sight, also where the word that first named the requirement is retracted.
SELECT EXISTS (SELECT FROM {schema}.requirement_rows AS said
                WHERE requirement = $2 AND position <= $1 AND NOT act AND {stands said})
    OR EXISTS (SELECT FROM {schema}.asks AS said
                WHERE requirement = $2 AND position <= $1 AND NOT withdrawn AND {stands said})
    OR EXISTS (SELECT FROM {schema}.decision_requirements WHERE requirement = $2 AND position <= $1)
    OR EXISTS (SELECT FROM {schema}.requirement_merges
                WHERE (requirement = $2 OR merged_into = $2) AND position <= $1)
    OR EXISTS (SELECT FROM {schema}.ask_moves WHERE (requirement = $2 OR moved_to = $2) AND position <= $1) AS is_there;
