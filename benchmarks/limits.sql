\set number random(1, :rows)
INSERT INTO ledger_main.stored_events
       (originator_id, originator_version, topic, state, notification_id, event_id, subject, source,
        recorded_at, sealed, content, leaf_hash)
SELECT originator_id, next.position, topic, state, next.position, gen_random_uuid(), subject, source,
       recorded_at, sealed, content, leaf_hash
  FROM staged
 CROSS JOIN (SELECT nextval('positions') AS position OFFSET 0) AS next
 WHERE number = :number;
