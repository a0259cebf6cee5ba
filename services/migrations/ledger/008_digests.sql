-- Digests of read models that were published: each as a signed note, and what it says.
CREATE TABLE {schema}.digests (
    projection text COLLATE "C" NOT NULL,
    version    text COLLATE "C" NOT NULL,
    position   bigint NOT NULL CHECK (position > 0),
    digest     text COLLATE "C" NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    note       text NOT NULL,
    made_at    timestamptz NOT NULL,
    PRIMARY KEY (projection, version, position)
);

-- The keys that have signed them, in the form of signed notes: one word each, since they are listed a line each. They
-- are the projector's, and sign no checkpoint.
CREATE TABLE {schema}.digest_keys (
    key        text PRIMARY KEY CHECK (key ~ '^\S+$'),
    known_from timestamptz NOT NULL
);

CREATE TRIGGER digests_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.digests
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.digests ENABLE ALWAYS TRIGGER digests_are_append_only;

CREATE TRIGGER digest_keys_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.digest_keys
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.digest_keys ENABLE ALWAYS TRIGGER digest_keys_are_append_only;
