-- is_known --
-- Whether an account of these names was mentioned.
SELECT EXISTS (SELECT FROM {schema}.account_mentions AS said
                WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said})
    OR EXISTS (SELECT FROM {schema}.asks AS said
                WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said})
    OR EXISTS (SELECT FROM {schema}.opportunity_rows AS said
                WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said})
    OR EXISTS (SELECT FROM {schema}.feedback_rows AS said
                WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said}) AS known;

-- profile --
-- What is known now of the account that goes by these names: the latest value of each attribute, also one that is
-- unknown again.
SELECT DISTINCT ON (attribute) attribute, value
  FROM {schema}.account_facts AS said
 WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said}
 ORDER BY attribute, valid_from DESC, position DESC;

-- facts --
-- The facts about one account that were recorded last, with both times.
SELECT account, attribute, value, position, valid_from, time, recorded_at
  FROM {schema}.account_facts AS said
 WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said}
 ORDER BY position DESC, attribute
 LIMIT $3;

-- aliases --
-- What the account that goes by these names says it is called elsewhere, each alias since it was first so.
SELECT DISTINCT ON (alias, account) alias, account, position, time, recorded_at
  FROM {schema}.account_aliases AS said
 WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said}
 ORDER BY alias, account, valid_from, position;

-- merges --
-- The last merge of each of these names that is merged.
SELECT *
  FROM (SELECT DISTINCT ON (account) *
          FROM {schema}.account_merges
         WHERE account = ANY($2::text[]) AND position <= $1
         ORDER BY account, position DESC) AS last
 WHERE merged_into IS NOT NULL
 ORDER BY position;

-- asked --
-- The asks of these accounts that were recorded, and on which requirements.
SELECT DISTINCT requirement, ask FROM {schema}.asks WHERE account = ANY($2::text[]) AND position <= $1;
