-- lock_head --
-- Begin, and wait for the head of the log. Whoever holds it gives the next positions.
BEGIN; SELECT FROM {schema}.log_head FOR UPDATE;

-- head --
-- What a batch asks of the log, looked at once: the last position and its recorded time, the clock, the version of each
-- of these streams (null: it has no events), and which of these events have been recorded. The snapshot is newer than
-- the lock.
SELECT coalesce(head.position, 0) AS position, head.recorded_at, clock_timestamp() AS clock,
       ARRAY(SELECT (SELECT originator_version
                       FROM {schema}.stored_events
                      WHERE originator_id = stream.id
                      ORDER BY originator_version DESC
                      LIMIT 1)
               FROM unnest($1::uuid[]) WITH ORDINALITY AS stream (id, n)
              ORDER BY stream.n) AS versions,
       ARRAY(SELECT event_id FROM {schema}.stored_events WHERE event_id = ANY ($2::uuid[])) AS recorded
  FROM (SELECT) AS always
  LEFT JOIN (SELECT notification_id AS position, recorded_at
               FROM {schema}.stored_events
              ORDER BY notification_id DESC
              LIMIT 1) AS head ON true;

-- known --
-- Where these events stand, and the keys of those with sealed texts.
SELECT e.event_id, e.notification_id AS position, e.originator_version AS version, e.subject, e.recorded_at,
       e.content, e.sealed, k.person, k.master, k.wrapped
  FROM {schema}.stored_events e
  LEFT JOIN {schema}.sealing_keys k ON k.position = e.notification_id
       AND k.master NOT IN (SELECT name FROM registry.master_keys WHERE lost_at IS NOT NULL)
 WHERE e.event_id = ANY ($1::uuid[]);

-- insert_keys --
-- Keep the keys of the events just appended, with them or not at all.
INSERT INTO {schema}.sealing_keys (position, event_id, person, master, wrapped)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bytea[]);

-- destroy_keys_of_persons --
-- Destroy the keys of all events about these persons that stand below the position of each one's erasure.
DELETE FROM {schema}.sealing_keys AS k
 USING unnest($1::text[], $2::bigint[]) AS erased (person, position)
 WHERE k.person = erased.person AND k.position < erased.position;

-- destroy_keys_at --
-- Destroy the keys of the events at these positions.
DELETE FROM {schema}.sealing_keys WHERE position = ANY ($1::bigint[]);

-- stream_after --
-- A page of one stream, by version; see `cut`.
SELECT originator_version AS position, state
  FROM {schema}.stored_events
 WHERE originator_id = $4 AND originator_version > $1
 ORDER BY originator_version
 LIMIT $2;

-- streams_after --
-- The events of several streams, of each those above a version, stream by stream. One look into the index for each
-- stream: left to choose, PostgreSQL would go through the whole index.
SELECT s.id, e.originator_version AS version, e.state
  FROM unnest($1::uuid[], $2::bigint[]) AS s (id, after)
 CROSS JOIN LATERAL (SELECT originator_version, state
                       FROM {schema}.stored_events
                      WHERE originator_id = s.id AND originator_version > s.after
                      ORDER BY originator_version
                      LIMIT $3) AS e
 ORDER BY s.id, e.originator_version
 LIMIT $3;

-- stream_version --
-- The version of one stream; null if it has no events.
SELECT max(originator_version) FROM {schema}.stored_events WHERE originator_id = $1;

-- max_position --
-- The last position of the log; 0 if it is empty.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- one --
-- One event.
SELECT state, leaf_hash FROM {schema}.stored_events WHERE notification_id = $1;

-- one_with_key --
-- One event, and its key if it is still there; what a lost master key wraps counts as gone.
SELECT e.state, e.event_id, k.person, k.master, k.wrapped
  FROM {schema}.stored_events e
  LEFT JOIN {schema}.sealing_keys k ON k.position = e.notification_id
       AND k.master NOT IN (SELECT name FROM registry.master_keys WHERE lost_at IS NOT NULL)
 WHERE e.notification_id = $1;

-- by_identity --
-- One event by its source and id.
SELECT notification_id AS position, state FROM {schema}.stored_events WHERE event_id = $1;

-- cut --
-- The first rows of one of the pages below: fewer than $2, and of $3 bytes together, but at least one. `found` counts
-- those that the page had before the cut. Sizes are known without reading the states.
SELECT *
  FROM (SELECT page.*, count(*) OVER () AS found, row_number() OVER in_order AS row,
               sum(octet_length(state)) OVER in_order AS bytes
          FROM ({page}) AS page
        WINDOW in_order AS (ORDER BY position ROWS UNBOUNDED PRECEDING)) AS numbered
 WHERE row < $2 AND (bytes <= $3 OR row = 1)
 ORDER BY position;

-- page --
-- A page of the log, in order.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- newest --
-- A page of the log with what its readers may ask for.
SELECT notification_id AS position, state, topic, originator_id, source
  FROM {schema}.stored_events
 WHERE notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- page_of_type --
-- A page of the events of one type, and of one source if that is given.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE topic = $4 AND notification_id > $1 AND ($5::text IS NULL OR source = $5)
 ORDER BY notification_id
 LIMIT $2;

-- page_of_source --
-- A page of the events of one source.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE source = $4 AND notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- page_of_stream --
-- A page of the events of one stream, and of one type and source if those are given.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE originator_id = $4 AND notification_id > $1
   AND ($5::text IS NULL OR topic = $5) AND ($6::text IS NULL OR source = $6)
 ORDER BY notification_id
 LIMIT $2;

-- select_events --
-- The library's view of one stream, oldest first.
SELECT originator_id, originator_version, topic, state
  FROM {schema}.stored_events
 WHERE originator_id = $1 AND originator_version > $2 AND originator_version <= $3
 ORDER BY originator_version
 LIMIT $4;

-- select_events_desc --
-- The library's view of one stream, newest first.
SELECT originator_id, originator_version, topic, state
  FROM {schema}.stored_events
 WHERE originator_id = $1 AND originator_version > $2 AND originator_version <= $3
 ORDER BY originator_version DESC
 LIMIT $4;

-- select_notifications --
-- The library's view of the log.
SELECT notification_id AS id, originator_id, originator_version, topic, state
  FROM {schema}.stored_events
 WHERE notification_id >= $1 AND notification_id <= $2 AND (cardinality($3::text[]) = 0 OR topic = ANY ($3))
 ORDER BY notification_id
 LIMIT $4;
