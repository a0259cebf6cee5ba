-- head --
-- The last position of the log.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- log --
-- The whole log, with what stands beside the stored bytes.
SELECT notification_id, state, leaf_hash, originator_id, originator_version, topic, subject, source, event_id,
       recorded_at
  FROM {schema}.stored_events
 WHERE notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- hashes --
-- The stored bytes and their leaf hashes alone.
SELECT notification_id, state, leaf_hash
  FROM {schema}.stored_events
 WHERE notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- checkpoints --
-- Every checkpoint that is kept inside.
SELECT size, note FROM {schema}.checkpoints ORDER BY size;

-- verifier_keys --
-- The keys that have signed.
SELECT key FROM {schema}.verifier_keys ORDER BY known_from, key;

-- tiles --
-- Full tiles of a level, from a number on.
SELECT number, hash, hashes FROM {schema}.tree_tiles WHERE level = $1 AND number BETWEEN $2 AND $3 ORDER BY number;

-- count_tiles --
-- How many tiles are kept.
SELECT count(*) FROM {schema}.tree_tiles;

-- cursors --
-- How far each read model has got.
SELECT projection, position FROM {schema}.cursors;

-- rows --
-- The rows of a read model's table that the events at some positions made.
SELECT * FROM {schema}.{table} WHERE {position} > $1 AND {position} <= $2;

-- rows_beyond --
-- The positions of rows that no event of the log can have made.
SELECT {position} AS position FROM {schema}.{table} WHERE {position} < 1 OR {position} > $1 LIMIT 100;
