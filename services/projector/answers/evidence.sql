-- adoptions --
-- Every revision of the target market that was adopted, with what it says.
SELECT a.in_force_from, a.position, r.agreement, r.revision, r.title, r.stage, r.threshold, r.bullets
  FROM {schema}.agreement_adoptions AS a
  JOIN LATERAL (SELECT *
                  FROM {schema}.agreement_revisions AS revised
                 WHERE revised.agreement = a.agreement AND revised.revision = a.revision AND revised.position <= a.position
                 ORDER BY revised.position DESC
                 LIMIT 1) AS r ON true
 WHERE a.agreement = $2 AND a.position <= $1;

-- facts --
-- What was said of these attributes, about any account.
SELECT account, attribute, value, valid_from, position
  FROM {schema}.account_facts
 WHERE position <= $1 AND attribute = ANY($2::text[]);

-- facts_of --
-- What was said of these attributes, about these accounts.
SELECT account, attribute, value, valid_from, position
  FROM {schema}.account_facts
 WHERE position <= $1 AND attribute = ANY($2::text[]) AND account = ANY($3::text[]);

-- live_asks --
-- Every ask that stands, in its latest state, with its first recording.
WITH recorded AS (
    SELECT DISTINCT ON (requirement, ask, account) requirement, ask, account, importance, valid_from, position,
           first_value(valid_from) OVER recordings AS first_valid_from,
           first_value(position) OVER recordings AS first_position
      FROM {schema}.asks
     WHERE position <= $1 AND NOT withdrawn
    WINDOW recordings AS (PARTITION BY requirement, ask, account ORDER BY valid_from, position)
     ORDER BY requirement, ask, account, valid_from DESC, position DESC
), withdrawn AS (
    SELECT DISTINCT ON (requirement, ask) requirement, ask, valid_from, position
      FROM {schema}.asks
     WHERE position <= $1 AND withdrawn
     ORDER BY requirement, ask, valid_from DESC, position DESC
)
SELECT recorded.*
  FROM recorded
  LEFT JOIN withdrawn USING (requirement, ask)
 WHERE withdrawn.position IS NULL
    OR (withdrawn.valid_from, withdrawn.position) < (recorded.valid_from, recorded.position);

-- ask_rows --
-- All that was said about asks of these requirements, withdrawals too.
SELECT requirement, ask, account, coalesce(importance, 0) AS importance, valid_from, position
  FROM {schema}.asks
 WHERE position <= $1 AND requirement = ANY($2::text[]);

-- names --
-- What each account is called.
SELECT DISTINCT ON (account) account, name
  FROM {schema}.account_names
 WHERE position <= $1
 ORDER BY account, valid_from DESC, position DESC;

-- names_of --
-- What these accounts are called.
SELECT DISTINCT ON (account) account, name
  FROM {schema}.account_names
 WHERE position <= $1 AND account = ANY($2::text[])
 ORDER BY account, valid_from DESC, position DESC;

-- revenue --
-- Each account's revenue: won opportunities that have not ended by $2, and open ones.
WITH latest AS (
    SELECT DISTINCT ON (opportunity) account, stage, amount, currency, ends
      FROM {schema}.opportunity_rows
     WHERE position <= $1
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
WITH latest AS (
    SELECT DISTINCT ON (opportunity) account, stage, amount, currency, ends
      FROM {schema}.opportunity_rows
     WHERE position <= $1
       AND opportunity IN (SELECT opportunity FROM {schema}.opportunity_rows WHERE account = ANY($3::text[]))
     ORDER BY opportunity, valid_from DESC, position DESC
)
SELECT account, currency,
       sum(amount) FILTER (WHERE stage = 'won') AS contracted,
       sum(amount) FILTER (WHERE stage = 'open') AS pipeline
  FROM latest
 WHERE account = ANY($3::text[])
   AND amount IS NOT NULL AND (stage = 'open' OR stage = 'won' AND (ends IS NULL OR ends >= $2::date))
 GROUP BY account, currency;

-- at_stake --
-- The same for the opportunities that name this requirement now, or that one of these asks ($4, positions) names.
WITH latest AS (
    SELECT DISTINCT ON (opportunity) opportunity, account, stage, amount, currency, ends, requirements
      FROM {schema}.opportunity_rows
     WHERE position <= $1
       AND opportunity IN (SELECT opportunity FROM {schema}.opportunity_rows WHERE requirements @> ARRAY[$3::text]
                           UNION SELECT opportunity FROM {schema}.asks WHERE position = ANY($4::bigint[]))
     ORDER BY opportunity, valid_from DESC, position DESC
)
SELECT account, currency,
       sum(amount) FILTER (WHERE stage = 'won') AS contracted,
       sum(amount) FILTER (WHERE stage = 'open') AS pipeline
  FROM latest
 WHERE (requirements @> ARRAY[$3::text]
        OR opportunity IN (SELECT opportunity FROM {schema}.asks WHERE position = ANY($4::bigint[])))
   AND amount IS NOT NULL AND (stage = 'open' OR stage = 'won' AND (ends IS NULL OR ends >= $2::date))
 GROUP BY account, currency;
