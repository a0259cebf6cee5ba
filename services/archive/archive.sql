-- registered --
-- A ledger as the registry has it.
SELECT origin, teams FROM registry.ledgers WHERE name = $1;

-- keys --
-- The sealing keys of the events at some positions that are still there; what a lost master key wraps counts as gone.
SELECT position, event_id, person, master, wrapped
  FROM {schema}.sealing_keys
 WHERE position BETWEEN $1 AND $2
   AND master NOT IN (SELECT name FROM registry.master_keys WHERE lost_at IS NOT NULL)
 ORDER BY position;

-- lock_head --
-- Whoever holds it gives the next positions.
SELECT FROM {schema}.log_head FOR UPDATE;

-- head --
-- How long the log is.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- destroy_erased --
-- Destroy the keys of what the log itself says was erased, with the person whom it is about; how many there were.
WITH destroyed AS (
    DELETE FROM {schema}.sealing_keys AS key
     USING {schema}.stored_events AS act
     WHERE act.topic = 'ledger.person.erased.v1' AND act.subject = 'person/' || key.person
       AND act.notification_id > key.position
    RETURNING key.position
)
SELECT count(*) FROM destroyed;

-- destroy_redacted --
-- Destroy the keys of what the log itself says was redacted; how many there were.
WITH destroyed AS (
    DELETE FROM {schema}.sealing_keys AS key
     USING {schema}.stored_events AS act
     WHERE act.topic = 'ledger.text.redacted.v1' AND {schema}.redacts(act.state) = key.position
       AND act.notification_id > key.position
    RETURNING key.position
)
SELECT count(*) FROM destroyed;

-- add_import --
-- That this log came from elsewhere.
INSERT INTO {schema}.imports (imported_at, origin, size, root_hash, checkpoint, with_keys, keyless)
VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6);

-- cursors --
-- How far each read model has got, and what built it.
SELECT projection, position, version FROM {schema}.cursors;

-- rows_upto --
-- The rows of a table of read models that were known at a position, in no order yet.
SELECT * FROM {schema}.{table} WHERE {position} <= $1
