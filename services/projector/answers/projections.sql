-- recorded --
-- When these positions were recorded.
SELECT notification_id AS position, recorded_at FROM {schema}.stored_events WHERE notification_id = ANY($1::bigint[]);

-- digests --
-- The digest of each read model that was published last, of the version that it has.
SELECT cursors.projection, last.position, last.digest, last.note
  FROM {schema}.cursors
 CROSS JOIN LATERAL (SELECT position, digest, note
                       FROM {schema}.digests
                      WHERE digests.projection = cursors.projection AND digests.version = cursors.version
                        AND digests.position <= cursors.position
                      ORDER BY position DESC
                      LIMIT 1) AS last;
