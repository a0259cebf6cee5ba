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
-- Which transactions may be recording in this ledger, and the clock before that was seen. Whoever records holds these
-- locks from before the recorded time is read until the commit can be seen.
SELECT statement_timestamp() AS clock,
       ARRAY(SELECT DISTINCT virtualtransaction
               FROM pg_locks
              WHERE locktype = 'relation' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (relation = '{schema}.log_head'::regclass AND mode = 'RowShareLock'
                     OR relation = '{schema}.stored_events'::regclass AND mode = 'RowExclusiveLock')) AS recording;

-- position_at --
-- The last position recorded by a time.
SELECT coalesce((SELECT notification_id
                   FROM {schema}.stored_events
                  WHERE recorded_at <= $1
                  ORDER BY recorded_at DESC, notification_id DESC
                  LIMIT 1), 0);

-- state --
-- How far each projection has got, and the number of the table that $2 names for it in the order of $1; the last
-- position of the log, and when the position $3 was recorded, or that which all have come to; and when $4 was.
SELECT cursors.projection, cursors.position, cursors.version, cursors.state, cursors.reason, cursors.stopped_at,
       cursors.updated_at,
       (SELECT to_regclass('{schema}.' || quote_ident(built."table"))::oid
          FROM unnest($1::text[], $2::text[]) AS built (projection, "table")
         WHERE built.projection = cursors.projection) AS built,
       coalesce((SELECT max(notification_id) FROM {schema}.stored_events), 0) AS head,
       (SELECT recorded_at FROM {schema}.stored_events
         WHERE notification_id = coalesce($3, (SELECT min(position) FROM {schema}.cursors))) AS recorded_at,
       (SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = $4) AS beside_at
  FROM {schema}.cursors
 ORDER BY cursors.projection COLLATE "C";
