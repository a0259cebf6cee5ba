-- The Merkle tree over the log: its full tiles, which never change, and every checkpoint that was signed. What is not
-- full yet follows from the leaf hashes of the log and the hashes of full tiles.
CREATE TABLE {schema}.tree_tiles (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint NOT NULL CHECK (number >= 0),
    hash   bytea NOT NULL CHECK (octet_length(hash) = 32),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, number)
);
ALTER TABLE {schema}.tree_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE {schema}.checkpoints (
    size    bigint PRIMARY KEY CHECK (size > 0),
    note    text NOT NULL,
    made_at timestamptz NOT NULL
);

CREATE TRIGGER tree_tiles_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.tree_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.tree_tiles ENABLE ALWAYS TRIGGER tree_tiles_are_append_only;

CREATE TRIGGER checkpoints_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.checkpoints ENABLE ALWAYS TRIGGER checkpoints_are_append_only;

-- The keys whose signatures this log has had, in the form of signed notes.
CREATE TABLE {schema}.verifier_keys (
    key        text PRIMARY KEY,
    known_from timestamptz NOT NULL
);

CREATE TRIGGER verifier_keys_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.verifier_keys
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.verifier_keys ENABLE ALWAYS TRIGGER verifier_keys_are_append_only;
