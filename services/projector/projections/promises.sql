-- tables --
-- Promises as they were made, each row replacing what was said of the same one before, and how they ended.
CREATE TABLE {schema}.promises_made (
    position    bigint PRIMARY KEY,
    promise     text COLLATE "C" NOT NULL,
    account     text COLLATE "C" NOT NULL,
    requirement text COLLATE "C" NOT NULL,
    opportunity text COLLATE "C",
    decision    text COLLATE "C",
    due         date,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.promises_closed (
    position    bigint PRIMARY KEY,
    promise     text COLLATE "C" NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    reason      text COLLATE "C",
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- One promise, and those to an account or about a requirement.
CREATE INDEX promises_made_promise_idx ON {schema}.promises_made (promise, valid_from, position);
CREATE INDEX promises_made_requirement_idx ON {schema}.promises_made (requirement, position);
CREATE INDEX promises_made_account_idx ON {schema}.promises_made (account, position);
CREATE INDEX promises_closed_promise_idx ON {schema}.promises_closed (promise, valid_from, position);
