-- first_asks --
-- When each requirement was first asked for, whether or not the ask still stands. Of asks that moved, what is given is
-- where they are: $2 requirement, $3 ask, $4 place.
SELECT coalesce(moved.place, said.requirement) AS requirement, min(said.valid_from) AS asked
  FROM {schema}.asks AS said
  LEFT JOIN unnest($2::text[], $3::text[], $4::text[]) AS moved (requirement, ask, place)
    ON moved.requirement = said.requirement AND moved.ask = said.ask
 WHERE said.position <= $1 AND NOT said.withdrawn AND {stands said}
 GROUP BY 1;

-- known --
-- What is known now of each account. $2 are the names of accounts that stand for another, $3 what they stand for.
WITH said AS (
    SELECT DISTINCT ON (account, attribute) account, attribute, value, valid_from, position
      FROM {schema}.account_facts AS fact
     WHERE position <= $1 AND {stands fact}
     ORDER BY account DESC, attribute DESC, valid_from DESC, position DESC
), known AS (
    SELECT DISTINCT ON (attribute, account) coalesce(named.root, said.account) AS account, attribute, value
      FROM said
      LEFT JOIN unnest($2::text[], $3::text[]) AS named (account, root) ON named.account = said.account
     ORDER BY attribute, account, valid_from DESC, position DESC
)
SELECT account, attribute, value FROM known WHERE value <> 'null';

-- titles --
-- What each requirement is called.
SELECT DISTINCT ON (requirement) requirement, title
  FROM {schema}.requirement_rows AS said
 WHERE position <= $1 AND {stands said} AND title IS NOT NULL
 ORDER BY requirement, valid_from DESC, position DESC;
