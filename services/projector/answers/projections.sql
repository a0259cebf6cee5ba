-- recorded --
-- When these positions were recorded.
SELECT notification_id AS position, recorded_at FROM {schema}.stored_events WHERE notification_id = ANY($1::bigint[]);
