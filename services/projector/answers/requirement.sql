-- said --
-- What was said of one requirement, the latest last.
SELECT *
  FROM {schema}.requirement_rows AS said
 WHERE requirement = $2 AND position <= $1 AND {stands said}
 ORDER BY valid_from, position;

-- asks --
-- The asks at these positions, with their first recordings at those others, in the order in which they were recorded.
SELECT asks.*, first.position AS first_position, first.time AS first_time, first.recorded_at AS first_recorded_at
  FROM unnest($1::bigint[], $2::bigint[]) AS shown (position, first_position)
  JOIN {schema}.asks AS asks ON asks.position = shown.position
  JOIN {schema}.asks AS first ON first.position = shown.first_position
 ORDER BY first.position;

-- delivery --
-- How the delivery of one requirement stands.
SELECT state, target, url, position AS delivery_position, time AS delivery_time
  FROM {schema}.deliveries AS said
 WHERE requirement = $2 AND position <= $1 AND {stands said}
 ORDER BY valid_from DESC, position DESC
 LIMIT 1;

-- merges --
-- The last merge of each of these requirements that is merged.
SELECT *
  FROM (SELECT DISTINCT ON (requirement) *
          FROM {schema}.requirement_merges
         WHERE requirement = ANY($2::text[]) AND position <= $1
         ORDER BY requirement, position DESC) AS last
 WHERE merged_into IS NOT NULL
 ORDER BY position;

-- history --
-- The last events about one requirement: those of its stream ($3), what was merged into it, told apart from it or
-- moved to it, and proposals and decisions that name it; and where each was retracted.
SELECT notification_id AS position, state, retraction.position AS retracted_at, retraction.recorded_at AS retraction_recorded_at
  FROM {schema}.stored_events
  LEFT JOIN {schema}.retractions AS retraction
    ON retraction.retracted = notification_id AND retraction.position <= $1
 WHERE notification_id IN (
       SELECT notification_id FROM (
           SELECT notification_id FROM {schema}.stored_events WHERE originator_id = $3 AND notification_id <= $1
           UNION
           SELECT position FROM {schema}.decision_requirements WHERE requirement = $2 AND position <= $1
           UNION
           SELECT merged.position
             FROM {schema}.requirement_merges AS merged
            WHERE merged.position <= $1
              AND merged.requirement IN (SELECT requirement FROM {schema}.requirement_merges
                                          WHERE merged_into = $2 AND position <= $1)
              AND (merged.merged_into = $2 OR merged.merged_into IS NULL)
           UNION
           SELECT position FROM {schema}.ask_moves WHERE moved_to = $2 AND position <= $1
           UNION
           SELECT position FROM {schema}.decision_proposals
            WHERE requirements @> ARRAY[$2::text] AND position <= $1) AS about
        ORDER BY notification_id DESC
        LIMIT $4)
 ORDER BY notification_id;
