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
    source      text COLLATE "C" NOT NULL,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, attribute)
);
CREATE TABLE {schema}.account_mentions (
    position bigint NOT NULL,
    account  text COLLATE "C" NOT NULL,
    PRIMARY KEY (position, account)
);
CREATE TABLE {schema}.account_aliases (
    position    bigint NOT NULL,
    alias       text COLLATE "C" NOT NULL, -- system:id
    account     text COLLATE "C" NOT NULL,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, alias)
);
CREATE TABLE {schema}.account_merges (
    position    bigint PRIMARY KEY,
    account     text COLLATE "C" NOT NULL,
    merged_into text COLLATE "C", -- Null: it stands by itself again.
    reason      text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- The latest name or fact of an account at a time, and what its names are connected with.
CREATE INDEX account_names_account_idx ON {schema}.account_names (account, valid_from, position);
CREATE INDEX account_facts_account_idx ON {schema}.account_facts (account, attribute, valid_from, position);
CREATE INDEX account_mentions_account_idx ON {schema}.account_mentions (account);
CREATE INDEX account_aliases_alias_idx ON {schema}.account_aliases (alias, account, position);
CREATE INDEX account_aliases_account_idx ON {schema}.account_aliases (account, alias, position);
CREATE INDEX account_merges_account_idx ON {schema}.account_merges (account, merged_into, position);
CREATE INDEX account_merges_into_idx ON {schema}.account_merges (merged_into, account, position);
