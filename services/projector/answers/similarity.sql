-- words --
-- The words of these texts as the dictionary has them: in which of the texts each is, and how many titles have it,
-- counted up to a limit. A word has two characters and a letter. Another language would be another configuration,
-- wherever it is named here and in the index on titles. (The position is compared inside an expression, so that
-- nothing but the index of words is read.)
WITH said AS (
    SELECT word.lexeme, array_agg(text.number::int - 1 ORDER BY text.number) AS texts
      FROM unnest($2::text[]) WITH ORDINALITY AS text (body, number)
     CROSS JOIN LATERAL (
           SELECT lexeme
             FROM unnest(to_tsvector('pg_catalog.english', translate(text.body, '/-_.@', '     ')))
            WHERE char_length(lexeme) > 1 AND lexeme ~ '[[:alpha:]]'
            ORDER BY positions[1], lexeme COLLATE "C"
            LIMIT $3) AS word
     GROUP BY word.lexeme
), asked AS (
    SELECT lexeme, texts, ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query
      FROM said
)
SELECT lexeme, texts, query::text AS query,
       (SELECT count(*)
          FROM (SELECT FROM {schema}.requirement_rows AS said
                 WHERE to_tsvector('pg_catalog.english', translate(title, '/-_.@', '     ')) @@ query
                   AND position + 0 <= $1 AND {stands said}
                 LIMIT $4) AS having_it) AS titles
  FROM asked;

-- candidates --
-- Requirements whose titles have what is looked for: of each text ($2) those that promise most, with the title that
-- counts and its words. A look with a limit ($6) takes the shortest titles.
WITH had AS (
    SELECT look.text, said.requirement, said.title, said.valid_from, said.position,
           sum(look.weight) FILTER (WHERE look.titles_max IS NULL) AS weight,
           count(*) FILTER (WHERE look.titles_max IS NULL) AS words,
           max(look.weight) FILTER (WHERE look.titles_max IS NOT NULL) AS weight_together,
           max(look.words) FILTER (WHERE look.titles_max IS NOT NULL) AS words_together
      FROM unnest($2::int[], $3::text[], $4::float8[], $5::int[], $6::int[])
           AS look (text, query, weight, words, titles_max)
     CROSS JOIN LATERAL (
           SELECT requirement, title, valid_from, position
             FROM {schema}.requirement_rows AS said
            WHERE to_tsvector('pg_catalog.english', translate(title, '/-_.@', '     ')) @@ look.query::tsquery
              AND position + 0 <= $1 AND {stands said}
            ORDER BY CASE WHEN look.titles_max IS NOT NULL THEN char_length(title) END, requirement, position
            LIMIT look.titles_max) AS said
     GROUP BY look.text, said.requirement, said.title, said.valid_from, said.position
), standing AS (
    SELECT text, requirement, title,
           row_number() OVER (
               PARTITION BY text
               ORDER BY (coalesce(weight, 0) + coalesce(weight_together, 0))
                        * (words + coalesce(words_together, 0)) / char_length(title) DESC,
                        requirement) AS place
      FROM had
     WHERE NOT EXISTS (
           SELECT FROM {schema}.requirement_rows AS later
            WHERE later.requirement = had.requirement AND later.position <= $1 AND later.title IS NOT NULL
              AND {stands later}
              AND (later.valid_from, later.position) > (had.valid_from, had.position))
)
SELECT text, requirement, title,
       tsvector_to_array(to_tsvector('pg_catalog.english', translate(title, '/-_.@', '     '))) AS lexemes
  FROM standing
 WHERE place <= $7;

-- lexemes --
-- What the dictionary makes of these texts.
SELECT number::int - 1 AS text,
       tsvector_to_array(to_tsvector('pg_catalog.english', translate(body, '/-_.@', '     '))) AS lexemes
  FROM unnest($1::text[]) WITH ORDINALITY AS text (body, number);

-- problems --
-- Where the problem of each of these requirements was last stated.
SELECT DISTINCT ON (requirement) requirement, position
  FROM {schema}.requirement_rows AS said
 WHERE position <= $1 AND requirement = ANY($2::text[]) AND has_problem AND {stands said}
 ORDER BY requirement, valid_from DESC, position DESC;
