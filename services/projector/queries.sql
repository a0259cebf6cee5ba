-- ledgers --
-- Every ledger that there is.
SELECT name FROM registry.ledgers ORDER BY name;

-- ledger_exists --
-- Whether there is a ledger of this name.
SELECT EXISTS (SELECT FROM registry.ledgers WHERE name = $1);

-- lock_opening --
-- One process at a time makes what is missing in a ledger.
SELECT pg_advisory_xact_lock(hashtextextended('opening ' || $1, 0));

-- lock_indexing --
-- Whether nobody else makes indexes of a ledger that is in use already, until the end of the transaction. To open the
-- ledger does not wait for it.
SELECT pg_try_advisory_xact_lock(hashtextextended('indexing ' || $1, 0));

-- make_cursors --
-- How far each projection has got.
CREATE TABLE IF NOT EXISTS {schema}.cursors (
    projection text PRIMARY KEY,
    position   bigint NOT NULL CHECK (position >= 0),
    version    text NOT NULL,
    state      text NOT NULL CHECK (state IN ('live', 'stopped')),
    reason     text,
    stopped_at bigint,
    updated_at timestamptz NOT NULL,
    CHECK ((state = 'stopped') = (reason IS NOT NULL))
);

-- with_indexes --
-- The tables that have an index, whether one of them is their key, and whether one is not.
SELECT made.relname AS table, bool_or(is_key) AS has_key, bool_or(NOT is_key) AS has_others
  FROM pg_index
  JOIN pg_class AS made ON made.oid = pg_index.indrelid
  JOIN pg_class AS named ON named.oid = pg_index.indexrelid
 CROSS JOIN LATERAL (SELECT named.relname = made.relname || '_pkey' AS is_key) AS kind
 WHERE made.relnamespace = '{schema}'::regnamespace
 GROUP BY made.relname;

-- make_cursor --
-- A projection that has not seen anything yet. No row is returned if it is there already.
INSERT INTO {schema}.cursors (projection, position, version, state, updated_at)
VALUES ($1, 0, $2, 'live', clock_timestamp())
ON CONFLICT (projection) DO NOTHING
RETURNING projection;

-- try_again --
-- Let the stopped projections of these names try again.
UPDATE {schema}.cursors SET state = 'live', reason = NULL, stopped_at = NULL, updated_at = clock_timestamp()
 WHERE projection = ANY($1) AND state = 'stopped';

-- cursors_and_head --
-- How far each projection has got, and how long the log is: one snapshot.
SELECT head.position AS head, cursors.*
  FROM (SELECT coalesce(max(notification_id), 0) AS position FROM {schema}.stored_events) AS head
  LEFT JOIN {schema}.cursors ON true;

-- head --
-- How long the log is.
SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events;

-- projected --
-- The projections that have a cursor.
SELECT coalesce(array_agg(projection), '{}') FROM {schema}.cursors;

-- page --
-- The next events of the log, $2 at most. Only those of the topics $3 come with their bytes, and none is begun once
-- there are $4 bytes.
SELECT position, topic, state
  FROM (SELECT position, topic, state,
               sum(octet_length(state)) OVER (ORDER BY position
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
          FROM (SELECT notification_id AS position, topic, CASE WHEN topic = ANY($3) THEN state END AS state
                  FROM {schema}.stored_events
                 WHERE notification_id > $1
                 ORDER BY notification_id
                 LIMIT $2) AS next) AS sized
 WHERE coalesce(bytes_before, 0) < $4
 ORDER BY position;

-- advance --
-- Move the cursors of the projections $1, which are of the versions $2, from $3 to $4, and stop them there if $5 says
-- why. One that somebody else has moved meanwhile is not among the rows. Two projectors lock the cursors that they move
-- in the same order: then neither waits for ever.
WITH ours AS (
    SELECT cursors.projection
      FROM {schema}.cursors
      JOIN unnest($1::text[], $2::text[]) AS wanted (projection, version)
        ON wanted.projection = cursors.projection AND wanted.version = cursors.version
     WHERE cursors.position = $3 AND cursors.state = 'live'
     ORDER BY cursors.projection
       FOR UPDATE OF cursors
)
UPDATE {schema}.cursors
   SET position = $4, state = CASE WHEN $5::text IS NULL THEN 'live' ELSE 'stopped' END, reason = $5, stopped_at = $6,
       updated_at = clock_timestamp()
  FROM ours
 WHERE cursors.projection = ours.projection
RETURNING cursors.*;

-- stop --
-- Stop a projection where it is, whatever built it. One that has stopped keeps its reason.
UPDATE {schema}.cursors SET state = 'stopped', reason = $2, stopped_at = $3, updated_at = clock_timestamp()
 WHERE projection = $1 AND state = 'live';

-- make_rebuilds --
-- How far the read models that are built anew have got, for whoever asks. What a process that was killed has left of
-- one stays, and says how far its tables beside the live ones go.
CREATE TABLE IF NOT EXISTS {schema}.rebuilds (
    projection text PRIMARY KEY,
    version    text NOT NULL,
    position   bigint NOT NULL CHECK (position >= begun_from),
    indexed    boolean NOT NULL,
    begun_from bigint NOT NULL,
    begun_at   timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- lock_rebuild --
-- One rebuild of a projection at a time; the lock ends with the connection.
SELECT pg_try_advisory_lock(hashtextextended('rebuild ' || $1 || ' ' || $2, 0));

-- built_by --
-- The version that has built a live read model.
SELECT version FROM {schema}.cursors WHERE projection = $1;

-- go_on --
-- Go on with a rebuild that was cut short. No row: there is none by this version.
UPDATE {schema}.rebuilds SET begun_from = position, begun_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE projection = $1 AND version = $2
RETURNING position, indexed;

-- begin --
-- A rebuild that has not read anything yet.
INSERT INTO {schema}.rebuilds VALUES ($1, $2, 0, false, 0, clock_timestamp(), clock_timestamp())
ON CONFLICT (projection) DO UPDATE
   SET version = EXCLUDED.version, position = 0, indexed = false, begun_from = 0, begun_at = EXCLUDED.begun_at,
       updated_at = EXCLUDED.updated_at;

-- reach --
-- The position that a rebuild has reached.
UPDATE {schema}.rebuilds SET position = $2, updated_at = clock_timestamp() WHERE projection = $1;

-- indexed --
-- The tables of a rebuild have their indexes.
UPDATE {schema}.rebuilds SET indexed = true, updated_at = clock_timestamp() WHERE projection = $1;

-- end --
-- A rebuild has come to its end, or is given up.
DELETE FROM {schema}.rebuilds WHERE projection = $1;

-- under_way --
-- The rebuilds of the ledger $1 that somebody is at: who is, holds the lock, whose number is shown in two halves.
SELECT projection, version, position, begun_from, begun_at, updated_at
  FROM {schema}.rebuilds
 WHERE EXISTS (SELECT
                 FROM pg_locks
                WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND objsubid = 1
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND (classid::bigint << 32) | objid::bigint
                      = hashtextextended('rebuild ' || $1 || ' ' || projection, 0));

-- unlock_rebuild --
-- The next rebuild may begin.
SELECT pg_advisory_unlock(hashtextextended('rebuild ' || $1 || ' ' || $2, 0));

-- there --
-- Those of these tables that a schema has.
SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables WHERE schemaname = $1 AND tablename = ANY($2);

-- holders --
-- The other sessions that have one of these tables of a schema in use, and whose they are.
SELECT pid, concat_ws(', ', usename, nullif(application_name, '')) AS who
  FROM pg_stat_activity
 WHERE pid <> pg_backend_pid()
   AND pid IN (SELECT held.pid
                 FROM pg_locks AS held
                 JOIN pg_class AS made ON made.oid = held.relation
                 JOIN pg_namespace AS place ON place.oid = made.relnamespace
                WHERE held.granted AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND place.nspname = $1 AND made.relname = ANY($2))
 ORDER BY pid;

-- lock_cursor --
-- Keep everybody from moving this cursor until the end of the transaction.
SELECT position FROM {schema}.cursors WHERE projection = $1 FOR UPDATE;

-- replace_cursor --
-- The cursor of the read model that has just taken the place of the live one.
UPDATE {schema}.cursors
   SET position = $2, version = $3, state = CASE WHEN $4::text IS NULL THEN 'live' ELSE 'stopped' END, reason = $4,
       stopped_at = $5, updated_at = clock_timestamp()
 WHERE projection = $1;

-- readers --
-- Who may read these tables beside their owner, as identifiers that are already quoted.
SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS reader
  FROM pg_class AS made
  JOIN pg_namespace AS place ON place.oid = made.relnamespace
 CROSS JOIN aclexplode(made.relacl) AS acl
 WHERE place.nspname = $1 AND made.relname = ANY($2)
   AND acl.privilege_type = 'SELECT' AND acl.grantee <> made.relowner;
