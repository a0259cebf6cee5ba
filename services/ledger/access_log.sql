-- cut --
-- The first readings of one of the pages below: at most $2 of $3 texts together, but at least one. `found` counts those
-- that the page had before the cut.
SELECT number, at, key, service, method, path, person, positions, persons, found
  FROM (SELECT page.*, count(*) OVER () AS found, row_number() OVER in_order AS row,
               sum(cardinality(positions)) OVER in_order AS texts
          FROM ({page}) AS page
        WINDOW in_order AS (ORDER BY number)) AS counted
 WHERE row <= $2 AND (texts <= $3 OR row = 1)
 ORDER BY number;

-- page --
-- Readings in order.
SELECT *
  FROM {schema}.access_log
 WHERE number > $1
 ORDER BY number
 LIMIT $2 + 1;

-- page_of_position --
-- Readings of what an event holds; by one key and about one person, if these are given.
SELECT *
  FROM {schema}.access_log
 WHERE number > $1 AND positions @> ARRAY[$4::bigint]
   AND ($5::text IS NULL OR person = $5 OR persons @> ARRAY[$5]) AND ($6::text IS NULL OR key = $6)
 ORDER BY number
 LIMIT $2 + 1;

-- page_of_person --
-- Readings of what is about a person, and of their page; by one key, if that is given.
SELECT *
  FROM {schema}.access_log
 WHERE number > $1 AND (person = $4 OR persons @> ARRAY[$4]) AND ($5::text IS NULL OR key = $5)
 ORDER BY number
 LIMIT $2 + 1;

-- page_of_key --
-- Readings by one key.
SELECT *
  FROM {schema}.access_log
 WHERE number > $1 AND key = $4
 ORDER BY number
 LIMIT $2 + 1;
