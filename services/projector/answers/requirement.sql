-- said --
-- What was said of one requirement, the latest last.
SELECT * FROM {schema}.requirement_rows WHERE requirement = $2 AND position <= $1 ORDER BY valid_from, position;

-- asks --
-- The asks at these positions.
SELECT * FROM {schema}.asks WHERE position = ANY($1::bigint[]) ORDER BY position;

-- delivery --
-- How the delivery of one requirement stands.
SELECT state, target, url, position AS delivery_position, time AS delivery_time
  FROM {schema}.deliveries
 WHERE requirement = $2 AND position <= $1
 ORDER BY valid_from DESC, position DESC
 LIMIT 1;

-- history --
-- The last events about one requirement: those of its stream ($3), and proposals and decisions that name it.
SELECT state
  FROM {schema}.stored_events
 WHERE notification_id IN (
       SELECT notification_id FROM (
           SELECT notification_id FROM {schema}.stored_events WHERE originator_id = $3 AND notification_id <= $1
           UNION
           SELECT position FROM {schema}.decision_requirements WHERE requirement = $2 AND position <= $1
           UNION
           SELECT position FROM {schema}.decision_proposals
            WHERE requirements @> ARRAY[$2::text] AND position <= $1) AS about
        ORDER BY notification_id DESC
        LIMIT $4)
 ORDER BY notification_id;
