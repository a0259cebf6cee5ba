-- tables --
-- What was retracted, from the position of the retraction on. What reads observations leaves these out.
CREATE TABLE {schema}.retractions (
    position    bigint PRIMARY KEY,
    retracted   bigint NOT NULL, -- The position of the observation.
    subject     text COLLATE "C" NOT NULL,
    reason      text COLLATE "C" NOT NULL,
    by_role     text COLLATE "C" NOT NULL,
    by_team     text COLLATE "C" NOT NULL,
    by_person   text COLLATE "C",
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- Whether an observation was retracted, and when. Its rule lets none be retracted twice.
CREATE UNIQUE INDEX retractions_retracted_idx ON {schema}.retractions (retracted) INCLUDE (position);
