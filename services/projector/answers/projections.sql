-- projections --
-- How far each projection has got, whether it goes on, and when the last position that it has applied was recorded, or
-- the first, if it has applied none; the digest of it that was published last, of the version that it has; the last
-- position of the log, and when that was recorded.
SELECT cursors.projection, cursors.position, cursors.version, cursors.state, cursors.reason, cursors.stopped_at,
       cursors.updated_at, applied.recorded_at, published.digest, published.position AS digest_position,
       published.note AS digest_note, coalesce(head.position, 0) AS head, head.recorded_at AS head_recorded_at
  FROM {schema}.cursors
  LEFT JOIN {schema}.stored_events AS applied ON applied.notification_id = greatest(cursors.position, 1)
  LEFT JOIN LATERAL (SELECT position, digest, note
                       FROM {schema}.digests
                      WHERE digests.projection = cursors.projection AND digests.version = cursors.version
                        AND digests.position <= cursors.position
                      ORDER BY position DESC
                      LIMIT 1) AS published ON true
  LEFT JOIN (SELECT notification_id AS position, recorded_at
               FROM {schema}.stored_events
              ORDER BY notification_id DESC
              LIMIT 1) AS head ON true
 ORDER BY cursors.projection COLLATE "C";
