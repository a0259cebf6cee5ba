-- is_known --
-- Whether this requirement was raised or asked for.
SELECT EXISTS (SELECT FROM {schema}.requirement_rows AS said
                WHERE requirement = $2 AND position <= $1 AND NOT act AND {stands said})
    OR EXISTS (SELECT FROM {schema}.asks AS said
                WHERE requirement = $2 AND position <= $1 AND NOT withdrawn AND {stands said}) AS known;
