-- Who has read what is sealed: a row for each answer with texts in the clear, and for each page about a person. It is
-- there before the answer leaves. `positions`: of the events whose texts were opened; `persons`: whom each of these is
-- about, as far as its event said; `person`: whose page it was.
CREATE TABLE {schema}.access_log (
    number    bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    key       text NOT NULL,
    service   text NOT NULL,
    method    text NOT NULL,
    path      text NOT NULL CONSTRAINT access_log_has_no_query CHECK (strpos(path, '?') = 0),
    person    text,
    positions bigint[] NOT NULL,
    persons   text[] NOT NULL,
    CONSTRAINT access_log_says_of_each CHECK (cardinality(positions) = cardinality(persons)),
    CONSTRAINT access_log_is_of_readings CHECK (person IS NOT NULL OR cardinality(positions) > 0)
);
CREATE INDEX access_log_key_idx ON {schema}.access_log (key, number);
CREATE INDEX access_log_person_idx ON {schema}.access_log (person, number) WHERE person IS NOT NULL;
CREATE INDEX access_log_persons_idx ON {schema}.access_log USING gin (persons);
CREATE INDEX access_log_positions_idx ON {schema}.access_log USING gin (positions);

CREATE TRIGGER access_log_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.access_log
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_rewrite();
ALTER TABLE {schema}.access_log ENABLE ALWAYS TRIGGER access_log_is_append_only;

-- Numbers come in the order of the commits, without gaps: so whoever reads on misses none, and sees if one is missing.
-- As the owner, since who writes here need not read. Number and clock are the database's, whatever the row says.
CREATE FUNCTION {schema}.number_access() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('pg_class'::regclass::oid::int, TG_RELID::int);
    NEW.number := 1 + coalesce((SELECT max(number) FROM {schema}.access_log), 0);
    NEW.at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER access_log_is_numbered
    BEFORE INSERT ON {schema}.access_log
    FOR EACH ROW EXECUTE FUNCTION {schema}.number_access();
ALTER TABLE {schema}.access_log ENABLE ALWAYS TRIGGER access_log_is_numbered;
