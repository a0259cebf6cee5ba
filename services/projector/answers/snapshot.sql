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
-- The last position recorded by a time; and the clock, since a time to come has no answer yet.
SELECT clock_timestamp() AS clock,
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
