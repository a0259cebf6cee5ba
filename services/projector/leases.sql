-- join --
-- Be counted, for as long as the session lasts, among the processes whose projections have these versions.
SELECT pg_advisory_lock_shared(hashtextextended('projectors ' || $1, 0));

-- take --
-- How many processes there are, and which of the ledgers $2 nobody had and are ours from here on. A number that an
-- advisory lock has is shown in two halves.
SELECT (SELECT count(*)
          FROM pg_locks
         WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 1
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (classid::bigint << 32) | objid::bigint = hashtextextended('projectors ' || $1, 0)) AS processes,
       (SELECT coalesce(array_agg(name), '{}')
          FROM unnest($2::text[]) AS name
         WHERE pg_try_advisory_lock(hashtextextended('projecting ' || $1 || ' ' || name, 0))) AS taken;

-- give_back --
-- Other processes may take these ledgers.
SELECT pg_advisory_unlock(hashtextextended('projecting ' || $1 || ' ' || name, 0)) FROM unnest($2::text[]) AS name;
