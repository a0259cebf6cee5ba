-- mentions --
-- Where the person of a stream is named, oldest first: $4 rows behind the first $3. `retracted`: the position of the
-- retraction, if there is one.
SELECT mention.position, mention.place, mention.appears_as, mention.role, mention.team, mention.type, mention.subject,
       mention.words, mention.time, mention.recorded_at, retraction.position AS retracted
  FROM {schema}.person_mentions AS mention
  LEFT JOIN {schema}.retractions AS retraction
         ON retraction.retracted = mention.position AND retraction.position <= $1
 WHERE mention.stream = $2 AND mention.position <= $1
 ORDER BY mention.position, mention.place
OFFSET $3
 LIMIT $4;

-- is_named --
-- Whether anything names the person of a stream.
SELECT EXISTS (SELECT FROM {schema}.person_mentions AS mention
                WHERE mention.stream = $2 AND mention.position <= $1) AS named;
