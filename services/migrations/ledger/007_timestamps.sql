-- What an authority said of the time at which it was shown a checkpoint (RFC 3161): its whole response, as it came.
CREATE TABLE {schema}.timestamps (
    size     bigint PRIMARY KEY CHECK (size > 0),
    response bytea NOT NULL,
    made_at  timestamptz NOT NULL
);

CREATE TRIGGER timestamps_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.timestamps ENABLE ALWAYS TRIGGER timestamps_are_append_only;
