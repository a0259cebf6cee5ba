-- tables --
-- Agreements: their revisions, which teams endorsed them, and which were adopted from when.
CREATE TABLE {schema}.agreement_revisions (
    position    bigint PRIMARY KEY,
    agreement   text NOT NULL,
    revision    text NOT NULL,
    title       text NOT NULL,
    stage       text NOT NULL,
    statement   text,
    bullets     text NOT NULL, -- Canonical JSON.
    threshold   int NOT NULL,
    signatories text[] NOT NULL,
    review_by   date,
    reason      text NOT NULL,
    by_role     text NOT NULL,
    by_team     text NOT NULL,
    by_person   text,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.agreement_endorsements (
    position    bigint PRIMARY KEY,
    agreement   text NOT NULL,
    revision    text NOT NULL,
    team        text NOT NULL,
    meaning     text NOT NULL,
    note        text,
    by_role     text NOT NULL,
    by_team     text NOT NULL,
    by_person   text,
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.agreement_adoptions (
    position      bigint PRIMARY KEY,
    agreement     text NOT NULL,
    revision      text NOT NULL,
    effective     timestamptz NOT NULL,
    in_force_from timestamptz NOT NULL, -- The later of `effective` and valid_from.
    by_role       text NOT NULL,
    by_team       text NOT NULL,
    by_person     text,
    valid_from    timestamptz NOT NULL,
    time          timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL
);

-- indexes --
-- What belongs to an agreement and to a revision, and what is in force at a time.
CREATE INDEX agreement_revisions_agreement_idx ON {schema}.agreement_revisions (agreement, revision, position);
CREATE INDEX agreement_endorsements_agreement_idx ON {schema}.agreement_endorsements (agreement, revision, position);
CREATE INDEX agreement_adoptions_agreement_idx ON {schema}.agreement_adoptions (agreement, in_force_from, position);
