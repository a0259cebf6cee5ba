-- tables --
-- Feedback as it came: each row replaces what was said before under the same id. The text is sealed, and not here.
CREATE TABLE {schema}.feedback_rows (
    position    bigint PRIMARY KEY,
    feedback    text COLLATE "C" NOT NULL,
    account     text COLLATE "C",
    contact     text COLLATE "C",
    channel     text COLLATE "C",
    url         text COLLATE "C",
    labels      text COLLATE "C" NOT NULL, -- Canonical JSON.
    valid_from  timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- indexes --
-- The latest row of an id, the newest of all, and which accounts and channels there are.
CREATE INDEX feedback_rows_feedback_idx ON {schema}.feedback_rows (feedback, valid_from, position);
CREATE INDEX feedback_rows_newest_idx ON {schema}.feedback_rows (valid_from, position);
CREATE INDEX feedback_rows_account_idx ON {schema}.feedback_rows (account);
CREATE INDEX feedback_rows_channel_idx ON {schema}.feedback_rows (channel);
