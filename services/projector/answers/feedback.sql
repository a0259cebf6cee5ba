-- inbox --
-- Feedback that no ask refers to which stands, the newest first; $2, $3: of accounts of these names, on these channels.
-- An ask is looked for under the names that its recordings have. Those of names that stand for another ($6 asks that
-- moved, $9 merged requirements, $11 accounts; each with what it stands for) are looked at as well as what they are.
WITH touched AS MATERIALIZED (
    SELECT asks.position, asks.ask, asks.withdrawn, asks.feedback, asks.valid_from,
           coalesce(moved.root, merged.root, asks.requirement) AS requirement,
           coalesce(named.root, asks.account) AS account
      FROM {schema}.asks AS asks
      LEFT JOIN unnest($6::text[], $7::text[], $8::text[]) AS moved (requirement, ask, root)
        ON moved.requirement = asks.requirement AND moved.ask = asks.ask
      LEFT JOIN unnest($9::text[], $10::text[]) AS merged (requirement, root) ON merged.requirement = asks.requirement
      LEFT JOIN unnest($11::text[], $12::text[]) AS named (account, root) ON named.account = asks.account
     WHERE asks.position <= $1
       AND cardinality($7::text[] || $9::text[] || $11::text[]) > 0
       AND asks.ask IN (SELECT ask FROM {schema}.asks WHERE feedback IS NOT NULL AND position <= $1)
), ended AS MATERIALIZED (
    SELECT referring.position
      FROM touched AS referring
     WHERE referring.feedback IS NOT NULL
       AND EXISTS (
           SELECT FROM touched AS later
            WHERE later.ask = referring.ask AND later.requirement = referring.requirement
              AND (later.withdrawn OR later.account = referring.account)
              AND (later.valid_from, later.position) > (referring.valid_from, referring.position))
), inbox AS MATERIALIZED (
    SELECT said.position, said.valid_from
      FROM {schema}.feedback_rows AS said
     WHERE said.position <= $1
       AND ($2::text[] IS NULL OR said.account = ANY($2::text[]))
       AND ($3::text[] IS NULL OR said.channel = ANY($3::text[]))
       AND NOT EXISTS (
           SELECT FROM {schema}.feedback_rows AS later
            WHERE later.feedback = said.feedback AND later.position <= $1
              AND (later.valid_from, later.position) > (said.valid_from, said.position))
       AND NOT EXISTS (
           SELECT FROM {schema}.asks AS referring
            WHERE referring.feedback = said.feedback AND referring.position <= $1
              AND referring.position NOT IN (SELECT position FROM ended)
              AND NOT EXISTS (
                  SELECT FROM {schema}.asks AS later
                   WHERE later.requirement = referring.requirement AND later.ask = referring.ask AND later.position <= $1
                     AND (later.withdrawn OR later.account = referring.account)
                     AND (later.valid_from, later.position) > (referring.valid_from, referring.position)))
)
SELECT counted.total, said.*
  FROM (SELECT count(*) AS total FROM inbox) AS counted
  LEFT JOIN (SELECT position FROM inbox ORDER BY valid_from DESC, position DESC LIMIT $5 OFFSET $4) AS page ON true
  LEFT JOIN {schema}.feedback_rows AS said USING (position)
 ORDER BY said.valid_from DESC, said.position DESC;

-- accounts --
-- The names of accounts that any feedback has.
SELECT DISTINCT account FROM {schema}.feedback_rows WHERE position <= $1 AND account IS NOT NULL;

-- channels --
-- The channels that any feedback came by.
SELECT DISTINCT channel FROM {schema}.feedback_rows WHERE position <= $1 AND channel IS NOT NULL;

-- currencies --
-- The currencies that any opportunity has.
SELECT DISTINCT currency FROM {schema}.opportunity_rows WHERE position <= $1 AND amount IS NOT NULL ORDER BY currency;
