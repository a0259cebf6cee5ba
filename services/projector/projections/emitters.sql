-- tables --
-- Every event of the log as far as it is counted, and the counts that emitters have sent.
CREATE TABLE {schema}.emissions (
    position bigint PRIMARY KEY,
    source   text COLLATE "C" NOT NULL,
    type     text COLLATE "C" NOT NULL,
    time     timestamptz NOT NULL, -- As the emitter said, also where its clock is ahead.
    amount   numeric
);
CREATE TABLE {schema}.reconciliations (
    position    bigint PRIMARY KEY,
    stated_by   text COLLATE "C" NOT NULL, -- The source of the count itself.
    source      text COLLATE "C" NOT NULL, -- The source that is counted.
    type        text COLLATE "C" NOT NULL,
    period_from timestamptz NOT NULL,
    period_to   timestamptz NOT NULL,
    count       bigint NOT NULL,
    sum         numeric,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- What an emitter sent of a type in a period.
CREATE INDEX emissions_period_idx ON {schema}.emissions (source, type, time);
