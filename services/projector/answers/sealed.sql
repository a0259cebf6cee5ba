-- sealed --
-- Recorded events with what opens their sealed texts; no key where it was destroyed, or its master key is lost.
SELECT event.notification_id AS position, event.event_id, event.state, key.person, key.master, key.wrapped
  FROM {schema}.stored_events AS event
  LEFT JOIN {schema}.sealing_keys AS key
    ON key.position = event.notification_id
   AND key.master NOT IN (SELECT name FROM registry.master_keys WHERE lost_at IS NOT NULL)
 WHERE event.notification_id = ANY($1::bigint[]);
