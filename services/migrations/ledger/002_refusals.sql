-- What was refused, counted: a row a day, source, type, problem and spot. No bodies, and no values of theirs.
-- `source` and `type` are '' where the event did not say; `pointer` has * for places and names that an emitter makes up.
CREATE TABLE {schema}.refusals (
    day     date NOT NULL,
    source  text NOT NULL,
    type    text NOT NULL,
    problem text NOT NULL,
    pointer text NOT NULL,
    count   bigint NOT NULL CHECK (count > 0),
    last    timestamptz NOT NULL,
    message text NOT NULL,
    CONSTRAINT refusals_counted_once PRIMARY KEY (day, source, type, problem, pointer)
) WITH (fillfactor = 50);
