-- head --
-- The last position of the log.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- log --
-- The whole log, with what stands beside the stored bytes, and of which person's event a key is there.
SELECT e.notification_id, e.state, e.leaf_hash, e.originator_id, e.originator_version, e.topic, e.subject, e.source,
       e.event_id, e.recorded_at, e.sealed, e.content, k.event_id AS key_event, k.person AS key_person
  FROM {schema}.stored_events AS e
  LEFT JOIN {schema}.sealing_keys AS k ON k.position = e.notification_id
 WHERE e.notification_id > $1
 ORDER BY e.notification_id
 LIMIT $2;

-- hashes --
-- The stored bytes and their leaf hashes alone.
SELECT notification_id, state, leaf_hash
  FROM {schema}.stored_events
 WHERE notification_id > $1
 ORDER BY notification_id
 LIMIT $2;

-- erasures --
-- The acts that destroy keys.
SELECT notification_id AS position, state
  FROM {schema}.stored_events
 WHERE topic IN ('ledger.person.erased.v1', 'ledger.text.redacted.v1')
 ORDER BY notification_id;

-- keys_beyond --
-- The positions of keys that no event of the log can have.
SELECT k.position
  FROM {schema}.sealing_keys AS k
 WHERE NOT EXISTS (SELECT FROM {schema}.stored_events AS e WHERE e.notification_id = k.position)
 ORDER BY k.position
 LIMIT 100;

-- imports --
-- What was imported, which is all that the log had then: whether keys came along, and which were not among them. When
-- its last event was recorded, and the first checkpoint kept.
SELECT imported_at, origin, size, root_hash, with_keys, keyless,
       (SELECT recorded_at FROM {schema}.stored_events WHERE notification_id = size) AS recorded_at,
       (SELECT min(made_at) FROM {schema}.checkpoints) AS first_checkpoint
  FROM {schema}.imports
 ORDER BY imported_at;

-- sealing_keys --
-- The keys of sealed texts.
SELECT position, event_id, person, master, wrapped
  FROM {schema}.sealing_keys
 WHERE position > $1
 ORDER BY position
 LIMIT $2;

-- master_keys --
-- The master keys that were ever known here, and whether nothing is wrapped by them any more.
SELECT name, emptied_at IS NOT NULL AS emptied FROM registry.master_keys;

-- twice --
-- What has the source and the id of an event before it. The column is compared with the stored bytes, one by one.
SELECT e.notification_id, twice.first
  FROM (SELECT event_id, min(notification_id) AS first
          FROM {schema}.stored_events
         GROUP BY event_id
        HAVING count(*) > 1) AS twice
  JOIN {schema}.stored_events AS e ON e.event_id = twice.event_id AND e.notification_id > twice.first
 ORDER BY e.notification_id
 LIMIT 100;

-- readings_gone --
-- Numbers behind which some are missing in the access log, and the ones after.
SELECT before, number
  FROM (SELECT number, lag(number, 1, 0::bigint) OVER (ORDER BY number) AS before FROM {schema}.access_log) AS reading
 WHERE number <> before + 1
 ORDER BY number
 LIMIT 100;

-- checkpoints --
-- Every checkpoint that is kept inside, with what stands beside its note.
SELECT size, note FROM {schema}.checkpoints ORDER BY size;

-- verifier_keys --
-- The keys that have signed.
SELECT key FROM {schema}.verifier_keys ORDER BY known_from, key;

-- digests --
-- Every digest of a read model that is kept inside, with what stands beside its note.
SELECT projection, version, position, digest, note FROM {schema}.digests ORDER BY position, projection, version;

-- digest_keys --
-- The keys that have signed them.
SELECT key FROM {schema}.digest_keys ORDER BY known_from, key;

-- timestamps --
-- Every timestamp that is kept inside, with its checkpoint.
SELECT t.size, t.response, c.note
  FROM {schema}.timestamps AS t
  LEFT JOIN {schema}.checkpoints AS c ON c.size = t.size
 ORDER BY t.size;

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
