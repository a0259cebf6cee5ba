-- tables --
-- Agreements: their revisions, which teams endorsed them, and which were adopted from when.
CREATE TABLE {schema}.agreement_revisions (
    position    bigint PRIMARY KEY,
    agreement   text COLLATE "C" NOT NULL,
    revision    text COLLATE "C" NOT NULL,
    title       text COLLATE "C" NOT NULL,
    stage       text COLLATE "C" NOT NULL,
    statement   text COLLATE "C",
    bullets     text COLLATE "C" NOT NULL, -- Canonical JSON.
    threshold   int NOT NULL,
    signatories text[] COLLATE "C" NOT NULL,
    review_by   date,
    reason      text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.agreement_endorsements (
    position    bigint PRIMARY KEY,
    agreement   text COLLATE "C" NOT NULL,
    revision    text COLLATE "C" NOT NULL,
    team        text COLLATE "C" NOT NULL,
    meaning     text COLLATE "C" NOT NULL,
    note        text COLLATE "C",
    authid      text COLLATE "C" NOT NULL, -- Whose key recorded it.
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.agreement_adoptions (
    position      bigint PRIMARY KEY,
    agreement     text COLLATE "C" NOT NULL,
    revision      text COLLATE "C" NOT NULL,
    effective     timestamptz NOT NULL,
    in_force_from timestamptz NOT NULL, -- The later of `effective` and valid_from.
    by_role       text COLLATE "C" NOT NULL,
    by_team       text COLLATE "C" NOT NULL,
    by_person     text COLLATE "C",
    valid_from    timestamptz NOT NULL,
    time          timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL
);

-- indexes --
-- What belongs to an agreement and to a revision, and what is in force at a time.
CREATE INDEX agreement_revisions_agreement_idx ON {schema}.agreement_revisions (agreement, revision, position);
CREATE INDEX agreement_endorsements_agreement_idx ON {schema}.agreement_endorsements (agreement, revision, position);
CREATE INDEX agreement_adoptions_agreement_idx ON {schema}.agreement_adoptions (agreement, in_force_from, position);
