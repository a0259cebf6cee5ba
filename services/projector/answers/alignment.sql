-- first_asks --
-- When each requirement was first asked for, whether or not the ask still stands. Of asks that moved, what is given is
-- where they are: $2 requirement, $3 ask, $4 place.
SELECT coalesce(moved.place, said.requirement) AS requirement, min(said.valid_from) AS asked
  FROM {schema}.asks AS said
  LEFT JOIN unnest($2::text[], $3::text[], $4::text[]) AS moved (requirement, ask, place)
    ON moved.requirement = said.requirement AND moved.ask = said.ask
 WHERE said.position <= $1 AND NOT said.withdrawn AND {stands said}
 GROUP BY 1;
