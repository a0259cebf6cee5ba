-- known --
-- Of each attribute that an account has now: how many accounts have it, as what, and by what source. $2 are the names of
-- accounts that stand for another, $3 what they stand for. A value is canonical JSON, and its first character says what
-- it is.
WITH said AS (
    SELECT DISTINCT ON (account, attribute) account, attribute, value, source, valid_from, position
      FROM {schema}.account_facts AS said
     WHERE position <= $1 AND {stands said}
     ORDER BY account DESC, attribute DESC, valid_from DESC, position DESC
), known AS (
    SELECT DISTINCT ON (attribute, account) coalesce(named.root, said.account) AS account, attribute, value, source
      FROM said
      LEFT JOIN unnest($2::text[], $3::text[]) AS named (account, root) ON named.account = said.account
     ORDER BY attribute, account, valid_from DESC, position DESC
)
SELECT attribute, source,
       CASE left(value, 1) WHEN '"' THEN 'string' WHEN '[' THEN 'list' WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean'
                           ELSE 'number' END AS type,
       count(*) AS accounts
  FROM known
 WHERE value <> 'null'
 GROUP BY attribute, source, type;

-- top_values --
-- The values of each attribute that most accounts have now; a list counts each of its members.
WITH said AS (
    SELECT DISTINCT ON (account, attribute) account, attribute, value, valid_from, position
      FROM {schema}.account_facts AS said
     WHERE position <= $1 AND {stands said}
     ORDER BY account DESC, attribute DESC, valid_from DESC, position DESC
), known AS (
    SELECT DISTINCT ON (attribute, account) coalesce(named.root, said.account) AS account, attribute, value
      FROM said
      LEFT JOIN unnest($2::text[], $3::text[]) AS named (account, root) ON named.account = said.account
     ORDER BY attribute, account, valid_from DESC, position DESC
), had AS (
    SELECT attribute, value FROM known WHERE left(value, 1) <> '[' AND value <> 'null'
    UNION ALL
    SELECT attribute, member.value
      FROM known
     CROSS JOIN LATERAL (SELECT DISTINCT each.value::text FROM json_array_elements(known.value::json) AS each) AS member
     WHERE left(known.value, 1) = '['
), counted AS (
    SELECT attribute, value, count(*) AS accounts,
           row_number() OVER (PARTITION BY attribute ORDER BY count(*) DESC, value COLLATE "C") AS place
      FROM had
     GROUP BY attribute, value
)
SELECT attribute, value, accounts FROM counted WHERE place <= $4 ORDER BY attribute, place;

-- bullets --
-- Of each agreement the revision that is in force ($2 is now), and the one that was proposed last.
WITH in_force AS (
    SELECT DISTINCT ON (agreement) agreement, revision, position
      FROM {schema}.agreement_adoptions
     WHERE position <= $1 AND in_force_from <= $2
     ORDER BY agreement, in_force_from DESC, position DESC
), proposed AS (
    SELECT DISTINCT ON (agreement) agreement, revision, position, bullets
      FROM {schema}.agreement_revisions
     WHERE position <= $1
     ORDER BY agreement, position DESC
)
SELECT in_force.agreement, in_force.revision, revised.bullets, true AS in_force
  FROM in_force
  JOIN LATERAL (SELECT bullets
                  FROM {schema}.agreement_revisions AS said
                 WHERE said.agreement = in_force.agreement AND said.revision = in_force.revision
                   AND said.position <= in_force.position
                 ORDER BY said.position DESC
                 LIMIT 1) AS revised ON true
UNION ALL
SELECT proposed.agreement, proposed.revision, proposed.bullets, false
  FROM proposed
 WHERE NOT EXISTS (
       SELECT FROM in_force
        WHERE in_force.agreement = proposed.agreement AND in_force.revision = proposed.revision)
 ORDER BY agreement, in_force DESC;
