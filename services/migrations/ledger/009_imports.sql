-- That the log, or its beginning, came from an export of another one: an auditor has to tell sealed texts whose keys
-- did not come along from those whose keys were destroyed since.
CREATE TABLE {schema}.imports (
    imported_at timestamptz PRIMARY KEY,
    origin      text NOT NULL, -- Of the log that was exported.
    size        bigint NOT NULL CHECK (size > 0),
    root_hash   bytea NOT NULL CHECK (octet_length(root_hash) = 32),
    checkpoint  text, -- The signed note that came with it, of this size or a smaller one.
    with_keys   boolean NOT NULL,
    keyless     bigint[] NOT NULL, -- If keys came along: the positions of the sealed events that had none any more.
    CHECK (with_keys OR keyless = '{}')
);

CREATE TRIGGER imports_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.imports
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.imports ENABLE ALWAYS TRIGGER imports_are_append_only;
