-- head --
-- The last position, and when it was recorded.
SELECT notification_id AS position, recorded_at
  FROM {schema}.stored_events
 ORDER BY notification_id DESC
 LIMIT 1;

-- recorded_at --
-- When a position was recorded.
SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = $1;

-- under_way --
-- Which transactions are writing (each holds a lock on its own id), and the clock before that was seen.
SELECT statement_timestamp() AS clock,
       ARRAY(SELECT transactionid::text::bigint
               FROM pg_locks
              WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted) AS writing;

-- position_at --
-- The last position recorded by a time.
SELECT coalesce((SELECT notification_id
                   FROM {schema}.stored_events
                  WHERE recorded_at <= $1
                  ORDER BY recorded_at DESC, notification_id DESC
                  LIMIT 1), 0);

-- cursors --
-- How far each projection has got, and whether it goes on.
SELECT projection, position, version, state, reason, stopped_at, updated_at
  FROM {schema}.cursors
 ORDER BY projection COLLATE "C";
