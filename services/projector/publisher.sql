-- ledgers --
-- Every ledger, and the origin of its log.
SELECT name, origin FROM registry.ledgers ORDER BY name;

-- is_projected --
-- Whether there are read models yet.
SELECT to_regclass('{schema}.cursors') IS NOT NULL;

-- due --
-- The read models of the versions $2 that have moved since their last digest, if that is $3 seconds old.
SELECT cursors.projection
  FROM unnest($1::text[], $2::text[]) AS ours (projection, version)
  JOIN {schema}.cursors ON cursors.projection = ours.projection AND cursors.version = ours.version
  LEFT JOIN LATERAL (SELECT position, made_at
                       FROM {schema}.digests
                      WHERE digests.projection = ours.projection AND digests.version = ours.version
                      ORDER BY position DESC
                      LIMIT 1) AS last ON true
 WHERE cursors.position > coalesce(last.position, 0)
   AND (last.made_at IS NULL OR last.made_at <= clock_timestamp() - make_interval(secs => $3));

-- cursor --
-- How far a read model has got, and its tables as they are told apart from those of the same names before a rebuild.
SELECT cursors.position, cursors.version,
       ARRAY(SELECT made.oid::bigint
               FROM pg_class AS made
              WHERE made.relnamespace = '{schema}'::regnamespace AND made.relname = ANY($2)
              ORDER BY made.oid) AS tables
  FROM {schema}.cursors
 WHERE cursors.projection = $1;

-- recorded_at --
-- When a position was recorded.
SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = $1;

-- past --
-- Where the log ends, and how many events it had when its last checkpoint was signed.
SELECT (SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events) AS head,
       (SELECT max(size) FROM {schema}.checkpoints) AS signed;

-- know_keys --
-- Keep the keys that sign.
INSERT INTO {schema}.digest_keys (key, known_from)
SELECT key, clock_timestamp() FROM unnest($1::text[]) AS signing (key)
    ON CONFLICT DO NOTHING;

-- keys --
-- The keys that have signed.
SELECT key FROM {schema}.digest_keys ORDER BY known_from, key;

-- add --
-- Keep a digest. One that is there already stays as it is.
INSERT INTO {schema}.digests (projection, version, position, digest, note, made_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp())
    ON CONFLICT DO NOTHING;
