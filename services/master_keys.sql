-- all --
-- The master keys that were known here and what became of each, the eldest first.
SELECT name, retired_at IS NOT NULL AS retired, emptied_at IS NOT NULL AS emptied, lost_at IS NOT NULL AS lost
  FROM registry.master_keys
 ORDER BY known_from, name;

-- know --
-- Take a master key into use, if it is not known yet.
INSERT INTO registry.master_keys (name, known_from) VALUES ($1, clock_timestamp()) ON CONFLICT DO NOTHING;

-- find --
-- These are at hand, and so none of them is lost any more.
UPDATE registry.master_keys SET lost_at = NULL WHERE name = ANY ($1::text[]) AND lost_at IS NOT NULL;

-- lose --
-- Give up every master key in use but these.
UPDATE registry.master_keys
   SET lost_at = clock_timestamp()
 WHERE name <> ALL ($1::text[]) AND retired_at IS NULL AND lost_at IS NULL;

-- retire --
-- Retire every master key in use but this one. Waits for those who are keeping sealing keys under one of them.
UPDATE registry.master_keys
   SET retired_at = clock_timestamp()
 WHERE name <> $1 AND retired_at IS NULL AND lost_at IS NULL;

-- empty --
-- What these have wrapped, another one wraps now.
UPDATE registry.master_keys SET emptied_at = clock_timestamp() WHERE name = ANY ($1::text[]) AND emptied_at IS NULL;

-- has_wrapped --
-- Whether a sealing key of this ledger is wrapped by this master key.
SELECT EXISTS (SELECT FROM {schema}.sealing_keys WHERE master = $1);

-- left --
-- How many sealing keys of this ledger these master keys wrap.
SELECT count(*) FROM {schema}.sealing_keys WHERE master = ANY ($1::text[]);

-- last --
-- The position of the last sealing key.
SELECT coalesce(max(position), 0) FROM {schema}.sealing_keys;

-- some --
-- Some of them between two positions. Those that somebody else holds are left out: whoever holds one and wants another
-- must not wait for us while we wait for them.
SELECT position, event_id, person, master, wrapped
  FROM {schema}.sealing_keys
 WHERE position > $1 AND position <= $2 AND master = ANY ($3::text[])
 ORDER BY position
 LIMIT $4
   FOR NO KEY UPDATE SKIP LOCKED;

-- wrap_anew --
-- Put what another master key has wrapped in the place of what was there.
UPDATE {schema}.sealing_keys AS key
   SET master = $1, wrapped = fresh.wrapped
  FROM unnest($2::bigint[], $3::bytea[]) AS fresh (position, wrapped)
 WHERE key.position = fresh.position;
