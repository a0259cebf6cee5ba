-- sources --
-- A page of the sources of which something was recorded or refused, by name. One step down an index a source.
WITH RECURSIVE recorded (source, n) AS (
    (SELECT source, 1 FROM {schema}.stored_events WHERE source > $1 ORDER BY source LIMIT 1)
    UNION ALL
    SELECT next.source, n + 1
      FROM recorded
     CROSS JOIN LATERAL (
           SELECT source FROM {schema}.stored_events WHERE source > recorded.source ORDER BY source LIMIT 1) AS next
     WHERE n < $2
)
SELECT source FROM recorded
 UNION
(SELECT DISTINCT source FROM {schema}.refusals WHERE source > $1 AND day >= $3 ORDER BY source LIMIT $2)
 ORDER BY source
 LIMIT $2;

-- described --
-- Of each of these sources what was recorded last, and how much was refused today; in their order.
SELECT s.source, l.position, l.recordedtime, l.type, coalesce(r.count, 0)::bigint AS refused
  FROM unnest($1::text[]) WITH ORDINALITY AS s (source, n)
  LEFT JOIN LATERAL (
       SELECT notification_id AS position, recorded_at AS recordedtime, topic AS type
         FROM {schema}.stored_events
        WHERE source = s.source
        ORDER BY notification_id DESC
        LIMIT 1) AS l ON true
  LEFT JOIN LATERAL (
       SELECT sum(count) AS count
         FROM {schema}.refusals
        WHERE day = $2 AND source = s.source) AS r ON true
 ORDER BY s.n;

-- types --
-- How many events of each type a source has above one position and up to another, and the last of each.
SELECT topic AS type, count(*) AS count, max(notification_id) AS last
  FROM {schema}.stored_events
 WHERE source = $1 AND notification_id > $2 AND notification_id <= $3
 GROUP BY topic;

-- refused --
-- What was refused of a source from a day on, the latest days first.
SELECT day, nullif(type, '') AS type, problem, pointer, count, last, message
  FROM {schema}.refusals
 WHERE source = $1 AND day BETWEEN $2 AND $3
 ORDER BY day DESC, count DESC, problem, pointer, type;
