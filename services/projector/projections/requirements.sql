-- tables --
-- Requirements, who asked for them, and their delivery. Sealed texts are not here: the flags has_problem and
-- has_quote say that the event at that position has one.
CREATE TABLE {schema}.requirement_rows (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    act         boolean NOT NULL, -- Raised: false. Reworded: true.
    title       text COLLATE "C",
    area        text COLLATE "C",
    has_problem boolean NOT NULL,
    labels      text COLLATE "C", -- Canonical JSON; null in a rewording, which says nothing about it. So is links.
    links       text COLLATE "C",
    reason      text COLLATE "C",
    by_role     text COLLATE "C",
    by_team     text COLLATE "C",
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.asks (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    ask         text COLLATE "C" NOT NULL,
    account     text COLLATE "C", -- Null in a withdrawal, which is about every account's ask of this id.
    withdrawn   boolean NOT NULL,
    importance  int,
    contact     text COLLATE "C",
    channel     text COLLATE "C",
    has_quote   boolean NOT NULL,
    url         text COLLATE "C",
    opportunity text COLLATE "C",
    feedback    text COLLATE "C",
    needed_by   date,
    labels      text COLLATE "C", -- Canonical JSON; null in a withdrawal.
    reason      text COLLATE "C",
    by_role     text COLLATE "C",
    by_team     text COLLATE "C",
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    CHECK (withdrawn = (account IS NULL)),
    CHECK (withdrawn = (importance IS NULL))
);
CREATE TABLE {schema}.ask_moves (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    ask         text COLLATE "C" NOT NULL,
    moved_to    text COLLATE "C" NOT NULL,
    reason      text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.requirement_merges (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    merged_into text COLLATE "C", -- Null: it stands by itself again.
    reason      text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.deliveries (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    target      date,
    url         text COLLATE "C",
    by_role     text COLLATE "C",
    by_team     text COLLATE "C",
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.assessments (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    feasibility text COLLATE "C" NOT NULL,
    effort      text COLLATE "C", -- Canonical JSON, as risks.
    risks       text COLLATE "C" NOT NULL,
    plain       text COLLATE "C",
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.perspectives (
    position    bigint PRIMARY KEY,
    requirement text COLLATE "C" NOT NULL,
    decision    text COLLATE "C",
    team        text COLLATE "C" NOT NULL,
    statement   text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- What was said about a requirement, the words of titles, and which asks an account or an opportunity has.
CREATE INDEX requirement_rows_requirement_idx ON {schema}.requirement_rows (requirement, valid_from, position);
CREATE INDEX requirement_rows_words_idx ON {schema}.requirement_rows
    USING gin (to_tsvector('pg_catalog.english', translate(title, '/-_.@', '     '))) WITH (fastupdate = off);
CREATE INDEX asks_requirement_idx ON {schema}.asks (requirement, ask, valid_from, position);
CREATE INDEX asks_account_idx ON {schema}.asks (account, requirement);
CREATE INDEX asks_opportunity_idx ON {schema}.asks (opportunity) WHERE opportunity IS NOT NULL;
CREATE INDEX asks_feedback_idx ON {schema}.asks (feedback) WHERE feedback IS NOT NULL;
CREATE INDEX ask_moves_requirement_idx ON {schema}.ask_moves (requirement, ask, position);
CREATE INDEX ask_moves_ask_idx ON {schema}.ask_moves (ask, position);
CREATE INDEX ask_moves_moved_to_idx ON {schema}.ask_moves (moved_to, position);
CREATE INDEX requirement_merges_requirement_idx ON {schema}.requirement_merges (requirement, merged_into, position);
CREATE INDEX requirement_merges_into_idx ON {schema}.requirement_merges (merged_into, requirement, position);
CREATE INDEX deliveries_requirement_idx ON {schema}.deliveries (requirement, valid_from, position);
CREATE INDEX assessments_requirement_idx ON {schema}.assessments (requirement, valid_from, position);
CREATE INDEX perspectives_requirement_idx ON {schema}.perspectives (requirement, valid_from, position);
