-- named --
-- What stands at these positions, whether it has been retracted, and whether its texts were redacted: three looks into
-- an index for each, however many corrections there are. (The types stand here themselves, since each index is one of
-- its type only; and what is asked for is a count, since PostgreSQL may answer EXISTS from a table of all corrections.)
SELECT e.notification_id AS position, e.subject, e.topic, e.sealed,
       0 < (SELECT count(*)
              FROM {schema}.stored_events AS r
             WHERE r.topic = 'ledger.event.retracted.v1' AND {schema}.retracts(r.state) = e.notification_id)
           AS retracted,
       0 < (SELECT count(*)
              FROM {schema}.stored_events AS r
             WHERE r.topic = 'ledger.text.redacted.v1' AND {schema}.redacts(r.state) = e.notification_id)
           AS redacted
  FROM {schema}.stored_events AS e
 WHERE e.notification_id = ANY ($1::bigint[]);

-- persons --
-- Those of these persons about whom something sealed can still be opened.
SELECT person
  FROM unnest($1::text[]) AS asked (person)
 WHERE EXISTS (SELECT FROM {schema}.sealing_keys AS k WHERE k.person = asked.person);

-- requirements --
-- Of these requirements, which are at these versions: a position, none of $3, at which it was raised or asked for and
-- that was not retracted; and the last event that merged it or took it out. The position is looked for event by event,
-- since PostgreSQL, left to choose, may read the stream whole, or all retractions: first among the last hundred, then in
-- the first event, which mostly raised it, then in the others. Where nothing is left that counts that is all of the
-- stream, at some 4 µs an event.
SELECT s.id,
       (SELECT e.notification_id
          FROM (SELECT generate_series(s.version, greatest(s.version - 99, 2), -1) AS version
                 UNION ALL
                SELECT 1
                 UNION ALL
                SELECT generate_series(s.version - 100, 2, -1)) AS back
         CROSS JOIN LATERAL (SELECT notification_id, topic
                               FROM {schema}.stored_events
                              WHERE originator_id = s.id AND originator_version = back.version
                              LIMIT 1) AS e
         WHERE e.topic IN ('ledger.requirement.raised.v1', 'ledger.ask.recorded.v1')
           AND e.notification_id <> ALL ($3::bigint[])
           AND 0 = (SELECT count(*)
                      FROM {schema}.stored_events AS r
                     WHERE r.topic = 'ledger.event.retracted.v1' AND {schema}.retracts(r.state) = e.notification_id)
         LIMIT 1) AS heard,
       (SELECT e.state
          FROM {schema}.stored_events AS e
         WHERE e.originator_id = s.id
           AND e.topic IN ('ledger.requirement.merged.v1', 'ledger.requirement.unmerged.v1')
         ORDER BY e.originator_version DESC
         LIMIT 1) AS merged
  FROM unnest($1::uuid[], $2::bigint[]) AS s (id, version);

-- asks --
-- Which of these asks were recorded on these requirements, and the last event that moved each. An ask that was recorded
-- without an id has that of its event, in 32 digits. (The octets are looked through since the index of ids is of such
-- rows only, and OFFSET 0 keeps PostgreSQL from reading all asks once for all that is asked.)
SELECT s.n, (SELECT state
               FROM {schema}.stored_events
              WHERE topic = 'ledger.ask.moved.v1' AND position('"ask":"'::bytea IN state) > 0
                AND {schema}.names_ask(state) COLLATE "C" = s.ask AND originator_id = s.id
              ORDER BY originator_version DESC
              LIMIT 1) AS moved
  FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS s (id, ask, n)
 WHERE EXISTS (SELECT
                 FROM {schema}.stored_events
                WHERE topic = 'ledger.ask.recorded.v1' AND position('"ask":"'::bytea IN state) > 0
                  AND {schema}.names_ask(state) COLLATE "C" = s.ask AND originator_id = s.id
               OFFSET 0)
    OR EXISTS (SELECT
                 FROM (SELECT *
                         FROM {schema}.stored_events
                        WHERE event_id = CASE WHEN s.ask ~ '^[0-9a-f]{32}$' THEN s.ask::uuid END
                       OFFSET 0) AS e
                WHERE e.topic = 'ledger.ask.recorded.v1' AND e.originator_id = s.id
                  AND {schema}.names_ask(e.state) IS NULL);

-- identities --
-- What these accounts say that says who they are, in order, but for what was retracted.
SELECT s.id, e.notification_id AS position, e.state
  FROM unnest($1::uuid[]) AS s (id)
 CROSS JOIN LATERAL (SELECT notification_id, state
                       FROM {schema}.stored_events
                      WHERE originator_id = s.id
                        AND topic IN ('ledger.account.identified.v1', 'ledger.account.merged.v1',
                                      'ledger.account.unmerged.v1')
                      ORDER BY originator_version
                     OFFSET 0) AS e
 WHERE 0 = (SELECT count(*)
              FROM {schema}.stored_events AS r
             WHERE r.topic = 'ledger.event.retracted.v1' AND {schema}.retracts(r.state) = e.notification_id)
 ORDER BY e.notification_id;
