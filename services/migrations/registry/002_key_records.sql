-- Every making and revoking of a key, for ever. A trigger writes it, so that nobody who touches a key can forget to.
CREATE TABLE registry.key_records (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what       text NOT NULL CHECK (what IN ('made', 'revoked')),
    key        text NOT NULL,
    name       text NOT NULL,
    scopes     text[] NOT NULL,
    ledgers    text[] NOT NULL,
    sources    text[] NOT NULL,
    teams      text[] NOT NULL,
    expires_at timestamptz,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    CONSTRAINT key_records_once UNIQUE (key, what)
);

-- The keys that were there before, in the order of what became of them.
INSERT INTO registry.key_records (what, key, name, scopes, ledgers, sources, teams, expires_at, by, at)
SELECT r.what, k.key, k.name, k.scopes, k.ledgers, k.sources, k.teams, k.expires_at, r.by, r.at
  FROM registry.api_keys k
 CROSS JOIN LATERAL (VALUES ('made', k.created_by, k.created_at),
                            ('revoked', coalesce(k.revoked_by, ''), k.revoked_at)) AS r (what, by, at)
 WHERE r.at IS NOT NULL
 ORDER BY r.at, r.what;

CREATE FUNCTION registry.refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is on record about keys stays: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER key_records_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON registry.key_records
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_rewrite();
ALTER TABLE registry.key_records ENABLE ALWAYS TRIGGER key_records_are_append_only;

CREATE TRIGGER api_keys_stay
    BEFORE DELETE OR TRUNCATE ON registry.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_rewrite();
ALTER TABLE registry.api_keys ENABLE ALWAYS TRIGGER api_keys_stay;

-- What a key grants is fixed when it is made. It is revoked once, and for good.
CREATE FUNCTION registry.refuse_another_grant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR NEW.revoked_by IS NULL
       OR (to_jsonb(NEW) - '{revoked_at,revoked_by}'::text[]) <> (to_jsonb(OLD) - '{revoked_at,revoked_by}'::text[])
    THEN
        RAISE EXCEPTION 'a key stays as it was made; it can be revoked, once'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER api_keys_grant_what_they_were_made_with
    BEFORE UPDATE ON registry.api_keys
    FOR EACH ROW EXECUTE FUNCTION registry.refuse_another_grant();
ALTER TABLE registry.api_keys ENABLE ALWAYS TRIGGER api_keys_grant_what_they_were_made_with;

-- As the owner, since no role may write records itself. The clock is the database's, whatever the row says.
CREATE FUNCTION registry.record_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO registry.key_records (what, key, name, scopes, ledgers, sources, teams, expires_at, by, at)
        VALUES ('made', NEW.key, NEW.name, NEW.scopes, NEW.ledgers, NEW.sources, NEW.teams, NEW.expires_at,
                NEW.created_by, clock_timestamp());
    END IF;
    IF NEW.revoked_at IS NOT NULL THEN
        INSERT INTO registry.key_records (what, key, name, scopes, ledgers, sources, teams, expires_at, by, at)
        VALUES ('revoked', NEW.key, NEW.name, NEW.scopes, NEW.ledgers, NEW.sources, NEW.teams, NEW.expires_at,
                coalesce(NEW.revoked_by, ''), clock_timestamp());
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER api_keys_are_on_record
    AFTER INSERT OR UPDATE ON registry.api_keys
    FOR EACH ROW EXECUTE FUNCTION registry.record_key();
ALTER TABLE registry.api_keys ENABLE ALWAYS TRIGGER api_keys_are_on_record;

-- The last day (UTC) on which a key opened something, beside the keys since those do not change.
CREATE TABLE registry.key_uses (
    key text PRIMARY KEY,
    day date NOT NULL
);
