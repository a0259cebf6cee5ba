-- size --
-- How many bytes are stored at these positions.
SELECT coalesce(sum(octet_length(state)), 0) AS octets
  FROM {schema}.stored_events
 WHERE notification_id = ANY($1::bigint[]);

-- entries --
-- The stored bytes at these positions.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE notification_id = ANY($1::bigint[])
 ORDER BY notification_id;

-- agreed --
-- What brought revisions of an agreement ($2) into force: each adoption, what it adopted, and who had endorsed that.
SELECT position FROM {schema}.agreement_adoptions WHERE agreement = $2 AND position <= $1
UNION
SELECT revised.position
  FROM {schema}.agreement_adoptions AS adopted
 CROSS JOIN LATERAL (SELECT position
                       FROM {schema}.agreement_revisions
                      WHERE agreement = adopted.agreement AND revision = adopted.revision
                        AND position <= adopted.position
                      ORDER BY position DESC
                      LIMIT 1) AS revised
 WHERE adopted.agreement = $2 AND adopted.position <= $1
UNION
SELECT endorsed.position
  FROM {schema}.agreement_endorsements AS endorsed
 WHERE endorsed.agreement = $2 AND endorsed.position <= $1
   AND endorsed.revision IN (SELECT revision FROM {schema}.agreement_adoptions
                              WHERE agreement = $2 AND position <= $1);

-- named --
-- What joins these names of accounts ($2): the first claims of each alias, those that were retracted, and merges.
(SELECT DISTINCT ON (account, alias) position
   FROM {schema}.account_aliases AS said
  WHERE account = ANY($2::text[]) AND position <= $1 AND {stands said}
  ORDER BY account, alias, position)
UNION
SELECT position
  FROM {schema}.account_aliases AS said
 WHERE account = ANY($2::text[]) AND position <= $1 AND NOT {stands said}
UNION
SELECT position
  FROM {schema}.account_merges
 WHERE account = ANY($2::text[]) AND position <= $1;

-- sold --
-- The last word on each opportunity that is with one of these accounts ($2), names one of these requirements ($3), or is
-- named by one of the asks at these positions ($4). And on the one that the event at the position is about, since that
-- event is cited whatever it says.
WITH latest AS (
    SELECT DISTINCT ON (opportunity) position, opportunity, account, requirements
      FROM {schema}.opportunity_rows AS said
     WHERE position <= $1 AND {stands said}
       AND opportunity IN (SELECT opportunity FROM {schema}.opportunity_rows WHERE account = ANY($2::text[])
                           UNION SELECT opportunity FROM {schema}.opportunity_rows WHERE requirements && $3::text[]
                           UNION SELECT opportunity FROM {schema}.asks WHERE position = ANY($4::bigint[])
                           UNION SELECT opportunity FROM {schema}.opportunity_rows WHERE position = $1)
     ORDER BY opportunity, valid_from DESC, position DESC
)
SELECT position
  FROM latest
 WHERE account = ANY($2::text[]) OR requirements && $3::text[]
    OR opportunity IN (SELECT opportunity FROM {schema}.asks WHERE position = ANY($4::bigint[])
                       UNION SELECT opportunity FROM {schema}.opportunity_rows WHERE position = $1);

-- retractions --
-- What took back events at these positions ($2).
SELECT position FROM {schema}.retractions WHERE retracted = ANY($2::bigint[]) AND position <= $1;

-- decisions --
-- The streams of the decisions that the events at these positions ($2) are about.
SELECT DISTINCT originator_id AS stream
  FROM {schema}.stored_events
 WHERE notification_id = ANY($2::bigint[]) AND notification_id <= $1 AND subject LIKE 'decision/%';

-- streams --
-- All of these streams ($2).
SELECT notification_id AS position
  FROM {schema}.stored_events
 WHERE originator_id = ANY($2::uuid[]) AND notification_id <= $1;
