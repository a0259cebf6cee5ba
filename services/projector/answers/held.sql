-- said --
-- Which of the statements below have anything to tell of what was recorded in between; `adoptions`: something was
-- adopted; `anew`: it was decided by an act what names stand for.
SELECT 'asks' AS statement
 WHERE EXISTS (SELECT FROM {schema}.asks WHERE position > $1 AND position <= $2 AND NOT withdrawn)
UNION ALL
SELECT 'withdrawals' AS statement
 WHERE EXISTS (SELECT FROM {schema}.asks WHERE position > $1 AND position <= $2 AND withdrawn)
UNION ALL
SELECT 'asked_for' AS statement
 WHERE EXISTS (SELECT FROM {schema}.asks WHERE position > $1 AND position <= $2 AND opportunity IS NOT NULL)
UNION ALL
SELECT 'facts' AS statement
 WHERE EXISTS (SELECT FROM {schema}.account_facts WHERE position > $1 AND position <= $2)
UNION ALL
SELECT unnest(ARRAY['opportunities', 'named']) AS statement
 WHERE EXISTS (SELECT FROM {schema}.opportunity_rows WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'mentions' AS statement
 WHERE EXISTS (SELECT FROM {schema}.account_mentions WHERE position > $1 AND position <= $2)
UNION ALL
SELECT unnest(ARRAY['retractions', 'unclaimed']) AS statement
 WHERE EXISTS (SELECT FROM {schema}.retractions WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'claimed' AS statement
 WHERE EXISTS (SELECT FROM {schema}.account_aliases WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'raised' AS statement
 WHERE EXISTS (SELECT FROM {schema}.requirement_rows WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'deliveries' AS statement
 WHERE EXISTS (SELECT FROM {schema}.deliveries WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'made' AS statement
 WHERE EXISTS (SELECT FROM {schema}.decisions_made WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'superseded' AS statement
 WHERE EXISTS (SELECT FROM {schema}.decision_supersessions WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'adoptions' AS statement
 WHERE EXISTS (SELECT FROM {schema}.agreement_adoptions WHERE position > $1 AND position <= $2)
UNION ALL
SELECT 'anew' AS statement
 WHERE EXISTS (SELECT FROM {schema}.account_merges WHERE position > $1 AND position <= $2)
    OR EXISTS (SELECT FROM {schema}.requirement_merges WHERE position > $1 AND position <= $2)
    OR EXISTS (SELECT FROM {schema}.ask_moves WHERE position > $1 AND position <= $2);

-- fitting --
-- The last position up to $2 by which what was said of accounts takes $3 octets at most; the next one, if that alone
-- takes more. No more is looked at than fits.
SELECT coalesce((
    SELECT greatest(position - 1, $1 + 1)
      FROM (SELECT position, sum(octet_length(account) + octet_length(attribute) + octet_length(value))
                                 OVER (ORDER BY position) AS octets
              FROM {schema}.account_facts
             WHERE position > $1 AND position <= $2) AS sized
     WHERE octets > $3
     ORDER BY position
     LIMIT 1), $2);

-- asks --
-- The asks that were recorded in between, as columns: numbers as their octets, one after the other, which costs a
-- fraction of as many rows. An id is the first 16 octets of its SHA-256; times are in microseconds.
SELECT coalesce(array_agg(account), '{}') AS account, coalesce(array_agg(requirement), '{}') AS requirement,
       string_agg(substring(sha256(convert_to(ask, 'UTF8')) FOR 16), ''::bytea) AS id,
       string_agg(int8send(importance), ''::bytea) AS importance,
       string_agg(int8send((extract(epoch FROM valid_from) * 1000000)::bigint), ''::bytea) AS valid,
       string_agg(int8send(position), ''::bytea) AS position
  FROM {schema}.asks
 WHERE position > $1 AND position <= $2 AND NOT withdrawn;

-- withdrawals --
-- The withdrawals in between.
SELECT requirement, substring(sha256(convert_to(ask, 'UTF8')) FOR 16),
       (extract(epoch FROM valid_from) * 1000000)::bigint, position
  FROM {schema}.asks
 WHERE position > $1 AND position <= $2 AND withdrawn;

-- facts --
-- What was said of accounts in between, as columns.
SELECT coalesce(array_agg(account), '{}') AS account, coalesce(array_agg(attribute), '{}') AS attribute,
       coalesce(array_agg(value), '{}') AS value,
       string_agg(int8send((extract(epoch FROM valid_from) * 1000000)::bigint), ''::bytea) AS valid,
       string_agg(int8send(position), ''::bytea) AS position
  FROM {schema}.account_facts
 WHERE position > $1 AND position <= $2;

-- opportunities --
-- The opportunities in between, in millionths; days by their numbers, from 1970 on.
SELECT opportunity, account, stage, amount * 1000000 AS amount, currency, ends - date '1970-01-01' AS ends,
       (extract(epoch FROM valid_from) * 1000000)::bigint AS valid, position
  FROM {schema}.opportunity_rows
 WHERE position > $1 AND position <= $2;

-- mentions --
-- Which accounts were named in between, in events that say something of them; as columns.
SELECT coalesce(array_agg(account), '{}') AS account, string_agg(int8send(position), ''::bytea) AS position
  FROM {schema}.account_mentions
 WHERE position > $1 AND position <= $2;

-- named --
-- Which requirements the opportunities in between name.
SELECT unnest(requirements), opportunity, position
  FROM {schema}.opportunity_rows
 WHERE position > $1 AND position <= $2;

-- asked_for --
-- Which opportunities the asks in between name.
SELECT opportunity, position FROM {schema}.asks WHERE position > $1 AND position <= $2 AND opportunity IS NOT NULL;

-- retractions --
-- What was retracted in between.
SELECT position, retracted FROM {schema}.retractions WHERE position > $1 AND position <= $2 ORDER BY position;

-- claimed --
-- Which aliases accounts claimed in between.
SELECT DISTINCT account, alias FROM {schema}.account_aliases WHERE position > $1 AND position <= $2;

-- unclaimed --
-- The claims that were retracted in between, whenever they had been made.
SELECT DISTINCT said.account, said.alias
  FROM {schema}.retractions AS retraction
  JOIN {schema}.account_aliases AS said ON said.position = retraction.retracted
 WHERE retraction.position > $1 AND retraction.position <= $2;

-- raised --
-- What was said in between of what requirements are called.
SELECT requirement, act, title, area, (extract(epoch FROM valid_from) * 1000000)::bigint, position
  FROM {schema}.requirement_rows
 WHERE position > $1 AND position <= $2;

-- deliveries --
-- What was said in between of how delivery stands.
SELECT requirement, state, target, url, (extract(epoch FROM time) * 1000000)::bigint,
       (extract(epoch FROM valid_from) * 1000000)::bigint, position
  FROM {schema}.deliveries
 WHERE position > $1 AND position <= $2;

-- made --
-- The decisions that were made in between.
SELECT decision, position, time, valid_from, seen, outcome, grounds, requirements
  FROM {schema}.decisions_made
 WHERE position > $1 AND position <= $2
 ORDER BY position;

-- superseded --
-- The decisions whose place another took in between.
SELECT decision, position, superseded_by
  FROM {schema}.decision_supersessions
 WHERE position > $1 AND position <= $2
 ORDER BY position;
