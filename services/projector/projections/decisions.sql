-- tables --
-- Decisions: proposed, made, and the requirements that they are about.
CREATE TABLE {schema}.decision_proposals (
    position     bigint PRIMARY KEY,
    decision     text NOT NULL,
    requirements text[] NOT NULL,
    question     text NOT NULL,
    drivers      text NOT NULL, -- Canonical JSON, as all texts here that hold lists of more than words.
    options      text NOT NULL,
    decide_by    date,
    by_role      text NOT NULL,
    by_team      text NOT NULL,
    by_person    text,
    valid_from   timestamptz NOT NULL,
    time         timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL
);
CREATE TABLE {schema}.decisions_made (
    position      bigint PRIMARY KEY,
    decision      text NOT NULL,
    requirements  text[] NOT NULL,
    outcome       text NOT NULL,
    grounds       text NOT NULL,
    option        text,
    rationale     text NOT NULL,
    instruction   text NOT NULL,
    tell_customer text,
    available     text,
    deciders      text NOT NULL,
    consulted     text NOT NULL,
    informed      text[] NOT NULL,
    dissent       text NOT NULL,
    revisit       date,
    seen          bigint,
    valid_from    timestamptz NOT NULL,
    time          timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL
);
CREATE TABLE {schema}.decision_requirements ( -- Of made decisions only.
    position    bigint NOT NULL,
    requirement text NOT NULL,
    decision    text NOT NULL,
    PRIMARY KEY (position, requirement)
);

-- indexes --
-- One decision, and the decisions and proposals on a requirement.
CREATE INDEX decision_proposals_decision_idx ON {schema}.decision_proposals (decision, position);
CREATE INDEX decisions_made_decision_idx ON {schema}.decisions_made (decision, position);
CREATE INDEX decision_requirements_requirement_idx ON {schema}.decision_requirements (requirement, position);
CREATE INDEX decision_proposals_requirements_idx ON {schema}.decision_proposals USING gin (requirements);
