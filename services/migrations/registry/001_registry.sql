-- What the database knows of its ledgers, and the keys that open them.
CREATE TABLE registry.ledgers (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,39}$'),
    schema     text NOT NULL UNIQUE,
    teams      text[] NOT NULL,
    origin     text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE registry.api_keys (
    key        text PRIMARY KEY,
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    scopes     text[] NOT NULL,
    ledgers    text[] NOT NULL,
    sources    text[] NOT NULL,
    teams      text[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);

-- The master keys that have wrapped keys of sealed texts here: their names only, which say nothing about them.
CREATE TABLE registry.master_keys (
    name       text PRIMARY KEY,
    known_from timestamptz NOT NULL
);
