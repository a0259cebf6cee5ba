-- What rules ask of streams that grow for ever is found by index, however much was said in them.

-- Who is who: what an account is called elsewhere, and what accounts and requirements were merged into. By stream.
CREATE INDEX stored_events_identity_idx ON {schema}.stored_events (originator_id, originator_version)
    WHERE topic IN ('ledger.account.identified.v1', 'ledger.account.merged.v1', 'ledger.account.unmerged.v1',
                    'ledger.requirement.merged.v1', 'ledger.requirement.unmerged.v1');

-- The id that an event gives an ask; null if it gives none, and then the ask's id follows from the event's.
CREATE FUNCTION {schema}.names_ask(state bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN convert_from(state, 'UTF8')::json #>> '{data,ask}';

-- Octets are looked through first: those of an ask without the member need not be read as JSON, which takes ten times
-- as long. By id first: emitters count up, and so what is new stands together.
CREATE INDEX stored_events_ask_idx ON {schema}.stored_events (({schema}.names_ask(state) COLLATE "C"), originator_id)
    WHERE topic IN ('ledger.ask.recorded.v1', 'ledger.ask.moved.v1') AND position('"ask":"'::bytea IN state) > 0;
