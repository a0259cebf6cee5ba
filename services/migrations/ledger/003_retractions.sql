-- The position that an event of the type event.retracted names. What a text says in UTF-8 never changes; PostgreSQL
-- cannot know that, and so it is said here.
CREATE FUNCTION {schema}.retracts(state bytea) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (convert_from(state, 'UTF8')::json #>> '{data,position}')::bigint;

-- Whether an event has been retracted is asked while the head of the log is held, and so it may not take the longer the
-- more was retracted before.
CREATE INDEX stored_events_retracted_idx ON {schema}.stored_events ({schema}.retracts(state))
    WHERE topic = 'ledger.event.retracted.v1';
