-- find_key --
-- The live key with this hash.
SELECT key, name, scopes, ledgers, sources, teams, expires_at
  FROM registry.api_keys
 WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp());

-- make_key --
-- Keep a new key, by its hash only.
INSERT INTO registry.api_keys
       (key, name, hash, scopes, ledgers, sources, teams, expires_at, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), $9);

-- list_keys --
-- Every key, without its hash.
SELECT key, name, scopes, ledgers, sources, teams, created_at, created_by, expires_at, revoked_at, revoked_by
  FROM registry.api_keys
 ORDER BY created_at DESC, key;

-- revoke_key --
-- End a key. It stays on the list.
UPDATE registry.api_keys
   SET revoked_at = clock_timestamp(), revoked_by = $2
 WHERE key = $1 AND revoked_at IS NULL
RETURNING key;

-- know_key --
-- Make sure that a key kept in a file is known here; after a move to an empty database it is not.
INSERT INTO registry.api_keys (key, name, hash, scopes, ledgers, sources, teams, created_at, created_by)
VALUES ($1, $2, $3, $4, '{}', '{}', '{}', clock_timestamp(), 'migrate')
ON CONFLICT (key) DO NOTHING;
