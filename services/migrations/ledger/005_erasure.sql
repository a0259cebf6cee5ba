-- Erasure: the key of a sealed text is destroyed by what is on record, and by nothing else.

-- The position that an event of the type text.redacted names, as `retracts` has it of a retraction.
CREATE FUNCTION {schema}.redacts(state bytea) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (convert_from(state, 'UTF8')::json #>> '{data,position}')::bigint;

-- Whether something was erased is asked while the head of the log is held, and for each key that goes: neither may take
-- the longer the more was erased before.
CREATE INDEX stored_events_redacted_idx ON {schema}.stored_events ({schema}.redacts(state))
    WHERE topic = 'ledger.text.redacted.v1';
CREATE INDEX stored_events_erased_idx ON {schema}.stored_events (subject, notification_id)
    WHERE topic = 'ledger.person.erased.v1';

CREATE FUNCTION {schema}.refuse_destroying_off_the_record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kept bigint;
BEGIN
    SELECT key.position INTO kept
      FROM destroyed AS key
     WHERE NOT EXISTS (SELECT
                         FROM {schema}.stored_events AS act
                        WHERE act.topic = 'ledger.person.erased.v1' AND act.subject = 'person/' || key.person
                          AND act.notification_id > key.position)
       AND NOT EXISTS (SELECT
                         FROM {schema}.stored_events AS act
                        WHERE act.topic = 'ledger.text.redacted.v1' AND {schema}.redacts(act.state) = key.position
                          AND act.notification_id > key.position)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'no erasure of a person and no redaction on record destroys the key of position %', kept
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER sealing_keys_are_destroyed_on_the_record
    AFTER DELETE ON {schema}.sealing_keys
    REFERENCING OLD TABLE AS destroyed
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_destroying_off_the_record();
ALTER TABLE {schema}.sealing_keys ENABLE ALWAYS TRIGGER sealing_keys_are_destroyed_on_the_record;

-- A key may be wrapped anew, by another master key. What it is the key of, and whom it is about, never changes.
CREATE TRIGGER sealing_keys_stay
    BEFORE UPDATE OF position, event_id, person OR TRUNCATE ON {schema}.sealing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.sealing_keys ENABLE ALWAYS TRIGGER sealing_keys_stay;

-- ANALYZE would keep samples of wrapped keys in the catalog, where nobody destroys them. To name the type of the column
-- again drops those that it has kept.
ALTER TABLE {schema}.sealing_keys ALTER COLUMN wrapped TYPE bytea;
ALTER TABLE {schema}.sealing_keys ALTER COLUMN wrapped SET STATISTICS 0;
