-- tables --
-- Decisions: proposed, made, and the requirements that they are about; and what was said of made ones since.
CREATE TABLE {schema}.decision_proposals (
    position     bigint PRIMARY KEY,
    decision     text COLLATE "C" NOT NULL,
    requirements text[] COLLATE "C" NOT NULL,
    question     text COLLATE "C" NOT NULL,
    drivers      text COLLATE "C" NOT NULL, -- Canonical JSON, as all texts here that hold lists of more than words.
    options      text COLLATE "C" NOT NULL,
    decide_by    date,
    by_role      text COLLATE "C" NOT NULL,
    by_team      text COLLATE "C" NOT NULL,
    by_person    text COLLATE "C",
    valid_from   timestamptz NOT NULL,
    time         timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL
);
CREATE TABLE {schema}.decisions_made (
    position      bigint PRIMARY KEY,
    decision      text COLLATE "C" NOT NULL,
    requirements  text[] COLLATE "C" NOT NULL,
    outcome       text COLLATE "C" NOT NULL,
    grounds       text COLLATE "C" NOT NULL,
    option        text COLLATE "C",
    rationale     text COLLATE "C" NOT NULL,
    instruction   text COLLATE "C" NOT NULL,
    tell_customer text COLLATE "C",
    available     text COLLATE "C",
    deciders      text COLLATE "C" NOT NULL,
    consulted     text COLLATE "C" NOT NULL,
    informed      text[] COLLATE "C" NOT NULL,
    dissent       text COLLATE "C" NOT NULL,
    revisit       date,
    seen          bigint,
    valid_from    timestamptz NOT NULL,
    time          timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL
);
CREATE TABLE {schema}.decision_requirements ( -- Of made decisions only.
    position    bigint NOT NULL,
    requirement text COLLATE "C" NOT NULL,
    decision    text COLLATE "C" NOT NULL,
    PRIMARY KEY (position, requirement)
);
CREATE TABLE {schema}.decision_acknowledgements (
    position    bigint PRIMARY KEY,
    decision    text COLLATE "C" NOT NULL,
    team        text COLLATE "C" NOT NULL,
    note        text COLLATE "C",
    authid      text COLLATE "C" NOT NULL, -- Whose key recorded it.
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.decision_reaffirmations (
    position    bigint PRIMARY KEY,
    decision    text COLLATE "C" NOT NULL,
    reason      text COLLATE "C" NOT NULL,
    seen        bigint,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE {schema}.decision_supersessions (
    position      bigint PRIMARY KEY,
    decision      text COLLATE "C" NOT NULL,
    superseded_by text COLLATE "C" NOT NULL,
    reason        text COLLATE "C" NOT NULL,
    by_role       text COLLATE "C" NOT NULL,
    by_team       text COLLATE "C" NOT NULL,
    by_person     text COLLATE "C",
    valid_from    timestamptz NOT NULL,
    time          timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL
);

-- indexes --
-- One decision, the decisions and proposals on a requirement, and what was said of a decision.
CREATE INDEX decision_proposals_decision_idx ON {schema}.decision_proposals (decision, position);
CREATE INDEX decisions_made_decision_idx ON {schema}.decisions_made (decision, position);
CREATE INDEX decision_requirements_requirement_idx ON {schema}.decision_requirements (requirement, position);
CREATE INDEX decision_proposals_requirements_idx ON {schema}.decision_proposals USING gin (requirements);
CREATE INDEX decision_acknowledgements_decision_idx ON {schema}.decision_acknowledgements (decision, position);
CREATE INDEX decision_reaffirmations_decision_idx ON {schema}.decision_reaffirmations (decision, position);
CREATE INDEX decision_supersessions_decision_idx ON {schema}.decision_supersessions (decision, position);
CREATE INDEX decision_supersessions_by_idx ON {schema}.decision_supersessions (superseded_by, position);
