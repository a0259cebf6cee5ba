-- tables --
-- What has been said about accounts: names, facts, and that they were mentioned at all.
CREATE TABLE {schema}.account_names (
    position    bigint PRIMARY KEY,
    account     text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.account_facts (
    position    bigint NOT NULL,
    account     text COLLATE "C" NOT NULL,
    attribute   text COLLATE "C" NOT NULL,
    value       text COLLATE "C" NOT NULL, -- Canonical JSON; null: unknown again.
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, attribute)
);
CREATE TABLE {schema}.account_mentions (
    position bigint PRIMARY KEY,
    account  text COLLATE "C" NOT NULL
);

-- indexes --
-- The latest name or fact of an account at a time.
CREATE INDEX account_names_account_idx ON {schema}.account_names (account, valid_from, position);
CREATE INDEX account_facts_account_idx ON {schema}.account_facts (account, attribute, valid_from, position);
CREATE INDEX account_mentions_account_idx ON {schema}.account_mentions (account);
