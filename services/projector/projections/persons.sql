-- tables --
-- Where events name persons: a row for each place. Of the person there is the stream only, and no word that is sealed.
CREATE TABLE {schema}.person_mentions (
    position    bigint,
    place       text COLLATE "C", -- Where in the event's data, as deciders/0.
    stream      text COLLATE "C" NOT NULL,
    appears_as  text COLLATE "C" NOT NULL,
    role        text COLLATE "C",
    team        text COLLATE "C",
    type        text COLLATE "C" NOT NULL,
    subject     text COLLATE "C", -- Null: a person.
    words       text[] COLLATE "C" NOT NULL, -- The sealed fields that say something of the person.
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, place)
);

-- indexes --
-- What names one person, in order.
CREATE INDEX person_mentions_stream_idx ON {schema}.person_mentions (stream, position, place);
