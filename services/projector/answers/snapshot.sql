-- head --
-- The last position, and when it was recorded.
SELECT notification_id AS position, recorded_at
  FROM {schema}.stored_events
 ORDER BY notification_id DESC
 LIMIT 1;

-- recorded_at --
-- When a position was recorded.
SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = $1;

-- position_at --
-- The last position recorded by a time; the clock, since a time to come has no answer yet; and which transactions
-- are under way, since what they record may have been recorded by then. The clock is read before the snapshot.
SELECT statement_timestamp() AS clock,
       ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())::text::bigint) AS under_way,
       (SELECT max(recorded_at) FROM {schema}.stored_events) AS head_recorded_at,
       coalesce((SELECT notification_id
                   FROM {schema}.stored_events
                  WHERE recorded_at <= $1
                  ORDER BY recorded_at DESC, notification_id DESC
                  LIMIT 1), 0) AS position;

-- cursors --
-- How far each projection has got, and whether it goes on.
SELECT projection, position, version, state, reason, stopped_at
  FROM {schema}.cursors
 ORDER BY projection;
