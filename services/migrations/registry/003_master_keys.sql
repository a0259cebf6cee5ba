-- What became of a master key. Retired: nothing more is wrapped by it, for good. Emptied: what it had wrapped, another
-- one wraps now. Lost: an operator has given it up, and what it wraps counts as destroyed until it is found.
ALTER TABLE registry.master_keys
    ADD COLUMN retired_at timestamptz,
    ADD COLUMN emptied_at timestamptz CHECK (emptied_at IS NULL OR retired_at IS NOT NULL),
    ADD COLUMN lost_at    timestamptz CHECK (lost_at IS NULL OR retired_at IS NULL);

-- Before there was rotation, a key came after another only where that one had been given up.
UPDATE registry.master_keys AS earlier
   SET lost_at = clock_timestamp()
 WHERE EXISTS (SELECT FROM registry.master_keys AS later WHERE later.known_from > earlier.known_from);

CREATE FUNCTION registry.refuse_return() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name <> OLD.name OR NEW.known_from <> OLD.known_from
       OR OLD.retired_at IS NOT NULL AND NEW.retired_at IS DISTINCT FROM OLD.retired_at
    THEN
        RAISE EXCEPTION 'a master key that was retired does not come back'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER master_keys_are_retired_for_good
    BEFORE UPDATE ON registry.master_keys
    FOR EACH ROW EXECUTE FUNCTION registry.refuse_return();
ALTER TABLE registry.master_keys ENABLE ALWAYS TRIGGER master_keys_are_retired_for_good;

CREATE TRIGGER master_keys_stay
    BEFORE DELETE OR TRUNCATE ON registry.master_keys
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_rewrite();
ALTER TABLE registry.master_keys ENABLE ALWAYS TRIGGER master_keys_stay;

-- For the sealing keys of every ledger: none is kept under a master key that is not in use. The rows of the master keys
-- stay locked until the transaction ends, so that whoever retires one waits for it and finds what it has kept.
-- As the owner, since to lock a row takes the privilege to update it.
CREATE FUNCTION registry.refuse_master_key_out_of_use() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    other text;
BEGIN
    PERFORM FROM registry.master_keys WHERE name IN (SELECT master FROM kept) FOR SHARE;
    SELECT master INTO other
      FROM kept
     WHERE NOT EXISTS (SELECT
                         FROM registry.master_keys AS m
                        WHERE m.name = kept.master AND m.retired_at IS NULL AND m.lost_at IS NULL)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the master key % is not in use', other
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'sealing_keys_master_in_use';
    END IF;
    RETURN NULL;
END $$;
