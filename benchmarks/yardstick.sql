-- askers --
-- The accounts that have asked for a requirement ($1).
SELECT DISTINCT account FROM {schema}.asks WHERE requirement = $1 AND account IS NOT NULL;

-- primary_key --
-- The columns of the primary key of a table ($2, in full $1), in order, and their types. Of a read model that was filled
-- from far behind it is a unique index of the same name.
SELECT attribute.attname AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type
  FROM pg_index AS index
  JOIN pg_class AS named ON named.oid = index.indexrelid
 CROSS JOIN unnest(index.indkey) WITH ORDINALITY AS part (number, place)
  JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = part.number
 WHERE index.indrelid = to_regclass($1) AND (index.indisprimary OR named.relname = $2 || '_pkey')
 ORDER BY part.place;

-- is_there --
-- Whether there is such a table ($1).
SELECT to_regclass($1) IS NOT NULL;

-- about --
-- The rows of a table that are about one of these ($1).
SELECT * FROM {schema}.{table} WHERE {column} = ANY($1::text[]);

-- make_schema --
-- A place for what is fetched in place of a list.
DROP SCHEMA IF EXISTS {schema} CASCADE;
CREATE SCHEMA {schema};
