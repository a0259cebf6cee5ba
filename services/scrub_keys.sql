-- ledgers --
-- Each ledger and its schema.
SELECT name, schema FROM registry.ledgers ORDER BY name;

-- under_way --
-- The transactions of others in this database, each by an id of its own and with its process. What one of them may
-- still see, VACUUM keeps. (Locks are shown to everybody; what others do, and since when, is not.)
SELECT lock.virtualtransaction AS id, lock.pid
  FROM pg_locks AS lock
  JOIN pg_stat_activity AS other ON other.pid = lock.pid
 WHERE lock.locktype = 'virtualxid' AND lock.pid <> pg_backend_pid()
   AND other.datid = (SELECT oid FROM pg_database WHERE datname = current_database());

-- begin --
-- A transaction's id of this moment.
SELECT pg_current_xact_id()::xid;

-- held_back --
-- What besides them may still see what was there before this id, and so keeps it from VACUUM: transactions of this
-- database that were prepared and not ended, slots, and standbys that say what their readers need.
SELECT format('the prepared transaction %L', gid) AS holder
  FROM pg_prepared_xacts
 WHERE database = current_database()
 UNION ALL
SELECT format('the replication slot %s', slot_name)
  FROM pg_replication_slots
 WHERE age(xmin) > age($1::xid)
 UNION ALL
SELECT format('the readers of the standby %s (process %s)', application_name, pid)
  FROM pg_stat_replication
 WHERE age(backend_xmin) > age($1::xid);

-- out_of_sight --
-- How many standbys there are of which this role may not see what their readers need.
SELECT count(*) FROM pg_stat_replication WHERE state IS NULL;

-- count --
-- How many keys of a ledger there are.
SELECT count(*) FROM {schema}.sealing_keys;

-- rewrite --
-- Write the table anew, with what lives in it and nothing else.
VACUUM (FULL) {schema}.{table};

-- file --
-- The file that a table is in: it is another one once the table was written anew.
SELECT pg_relation_filenode(format('%I.%I', $1::text, $2::text)::regclass);

-- segment --
-- The segment of the write-ahead log that is written to.
SELECT pg_walfile_name(pg_current_wal_insert_lsn());

-- switch --
-- Fill the segment up, with zeros, and go on in the next one. It begins with a record, or it would not be filled.
SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'ledger', 'scrub-keys') AS begun;

-- segments --
-- Every segment of the write-ahead log that there is, those that wait to be written over too.
SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' ORDER BY name;

-- elsewhere --
-- What else has the write-ahead log: an archive, and those that follow it.
SELECT current_setting('archive_mode') <> 'off' AS archived,
       ARRAY(SELECT slot_name::text FROM pg_replication_slots ORDER BY slot_name) AS slots;
