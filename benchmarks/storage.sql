-- tables --
-- The bytes of each table of a ledger ($1), with what is kept beside its heap, and of its indexes. Those that are not
-- the log's owner's are a projection's.
SELECT made.relname AS name,
       made.relowner <> log.relowner AS projected,
       pg_table_size(made.oid) AS heap,
       pg_indexes_size(made.oid) AS indexes
  FROM pg_class AS made
  JOIN pg_namespace AS place ON place.oid = made.relnamespace
  JOIN pg_class AS log ON log.relnamespace = place.oid AND log.relname = 'stored_events'
 WHERE place.nspname = $1 AND made.relkind = 'r'
 ORDER BY pg_total_relation_size(made.oid) DESC;
