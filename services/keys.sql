-- find_key --
-- The key with this hash, live or not.
SELECT key, name, scopes, ledgers, sources, teams, expires_at, revoked_at
  FROM registry.api_keys
 WHERE hash = $1;

-- make_key --
-- Keep a new key, by its hash only.
INSERT INTO registry.api_keys
       (key, name, hash, scopes, ledgers, sources, teams, expires_at, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), $9);

-- list_keys --
-- A page of the keys without their hashes, the newest first: all of them, or those that come after a key.
SELECT key, name, scopes, ledgers, sources, teams, created_at, created_by, expires_at, revoked_at, revoked_by,
       day AS last_used
  FROM registry.api_keys
  LEFT JOIN registry.key_uses USING (key)
 WHERE $1::text IS NULL OR (created_at, key) < (SELECT k.created_at, k.key FROM registry.api_keys k WHERE k.key = $1)
 ORDER BY created_at DESC, key DESC
 LIMIT $2;

-- is_key --
-- Whether there is a key of this id, live or not.
SELECT EXISTS (SELECT FROM registry.api_keys WHERE key = $1);

-- revoke_key --
-- End a key. It stays on the list. Whether there is one, live or not.
WITH revoked AS (
    UPDATE registry.api_keys
       SET revoked_at = clock_timestamp(), revoked_by = $2
     WHERE key = $1 AND revoked_at IS NULL
)
SELECT EXISTS (SELECT FROM registry.api_keys WHERE key = $1);

-- history --
-- A page of what became of keys, the newest first.
SELECT number, what, key, name, scopes, ledgers, sources, teams, expires_at, by, at
  FROM registry.key_records
 WHERE number < $1
 ORDER BY number DESC
 LIMIT $2;

-- use_key --
-- Note the day on which a key was used last.
INSERT INTO registry.key_uses AS u (key, day)
VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET day = excluded.day WHERE u.day < excluded.day;

-- know_key --
-- Make sure that a key kept in a file is known here; after a move to an empty database it is not. Of two processes that
-- start at once with one key, the second may find its name or its hash first.
INSERT INTO registry.api_keys (key, name, hash, scopes, ledgers, sources, teams, created_at, created_by)
VALUES ($1, $2, $3, $4, '{}', '{}', '{}', clock_timestamp(), 'migrate')
ON CONFLICT DO NOTHING;
