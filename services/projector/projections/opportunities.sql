-- tables --
-- Opportunities as they stood: each row replaces what was said before about the same one.
CREATE TABLE {schema}.opportunity_rows (
    position       bigint PRIMARY KEY,
    opportunity    text COLLATE "C" NOT NULL,
    account        text COLLATE "C" NOT NULL,
    stage          text COLLATE "C" NOT NULL,
    amount         numeric,
    currency       text COLLATE "C",
    kind           text COLLATE "C",
    pipeline_stage text COLLATE "C",
    closes         date,
    starts         date,
    ends           date,
    requirements   text[] COLLATE "C" NOT NULL,
    lead           text COLLATE "C",
    competitors    text[] COLLATE "C" NOT NULL,
    closed_because text COLLATE "C",
    reason         text COLLATE "C",
    valid_from     timestamptz NOT NULL,
    time           timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL
);

-- indexes --
-- The latest state of an opportunity, those of an account, and those that name a requirement.
CREATE INDEX opportunity_rows_opportunity_idx ON {schema}.opportunity_rows (opportunity, valid_from, position);
CREATE INDEX opportunity_rows_account_idx ON {schema}.opportunity_rows (account);
CREATE INDEX opportunity_rows_requirements_idx ON {schema}.opportunity_rows USING gin (requirements);
