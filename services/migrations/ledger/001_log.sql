-- The log of one ledger. Positions are given under the lock of the head row, which itself is never updated:
-- a hot row bloats while somebody holds an old snapshot.
CREATE TABLE {schema}.log_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single)
);
INSERT INTO {schema}.log_head DEFAULT VALUES;

-- The table that the library `eventsourcing` reads (its version 10 looks for event_id and metadata too),
-- with the columns that this ledger adds. `state` is the record; the columns beside it only index it.
-- Streams of this ledger begin at version 1; the library lets others begin at 0.
CREATE TABLE {schema}.stored_events (
    originator_id      uuid NOT NULL,
    originator_version bigint NOT NULL CHECK (originator_version >= 0),
    topic              text NOT NULL,
    state              bytea NOT NULL CONSTRAINT stored_events_state_fits_a_tile CHECK (octet_length(state) <= 65535),
    notification_id    bigint NOT NULL CHECK (notification_id > 0),
    event_id           uuid NOT NULL,
    metadata           jsonb,
    subject            text NOT NULL,
    source             text NOT NULL,
    recorded_at        timestamptz NOT NULL,
    sealed             boolean NOT NULL,
    content            bytea NOT NULL,
    leaf_hash          bytea NOT NULL,
    CONSTRAINT stored_events_version_once PRIMARY KEY (originator_id, originator_version),
    CONSTRAINT stored_events_event_once UNIQUE (event_id)
);
CREATE UNIQUE INDEX stored_events_notification_id_idx ON {schema}.stored_events (notification_id);
CREATE INDEX stored_events_topic_idx ON {schema}.stored_events (topic, notification_id);
CREATE INDEX stored_events_source_idx ON {schema}.stored_events (source, notification_id);
CREATE INDEX stored_events_recorded_at_idx ON {schema}.stored_events (recorded_at);

CREATE FUNCTION {schema}.refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER stored_events_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.stored_events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.stored_events ENABLE ALWAYS TRIGGER stored_events_are_append_only;

CREATE TRIGGER log_head_stays
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.log_head
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.log_head ENABLE ALWAYS TRIGGER log_head_stays;

-- What one statement appends follows the last position without a gap.
CREATE FUNCTION {schema}.refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
    last  bigint;
    n     bigint;
BEGIN
    SELECT min(notification_id), max(notification_id), count(*) INTO first, last, n FROM appended;
    IF n > 0 AND (last - first + 1 <> n OR first <> 1 + coalesce(
        (SELECT max(notification_id) FROM {schema}.stored_events WHERE notification_id < first), 0)) THEN
        RAISE EXCEPTION 'positions % to % do not follow the log', first, last
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER stored_events_leave_no_gap
    AFTER INSERT ON {schema}.stored_events
    REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_gap();
ALTER TABLE {schema}.stored_events ENABLE ALWAYS TRIGGER stored_events_leave_no_gap;

-- One random key for each event with sealed texts, wrapped by a master key that is kept elsewhere.
CREATE TABLE {schema}.sealing_keys (
    position bigint PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    person   text,
    master   text NOT NULL,
    wrapped  bytea NOT NULL
);
CREATE INDEX sealing_keys_person_idx ON {schema}.sealing_keys (person) WHERE person IS NOT NULL;
