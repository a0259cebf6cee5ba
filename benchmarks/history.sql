-- requirement --
-- How many accounts have asked for each requirement, now and as of the middle ($1).
SELECT requirement AS name,
       count(DISTINCT account) AS askers_now,
       count(DISTINCT account) FILTER (WHERE position <= $1) AS askers_in_the_middle
  FROM {schema}.asks
 WHERE account IS NOT NULL
 GROUP BY requirement;

-- account --
-- How many asks there are of each account, and facts about it.
SELECT account AS name, asks_now, asks_in_the_middle, facts_now, facts_in_the_middle
  FROM (SELECT account, count(*) AS asks_now, count(*) FILTER (WHERE position <= $1) AS asks_in_the_middle
          FROM {schema}.asks
         GROUP BY account) AS asks
  JOIN (SELECT account, count(*) AS facts_now, count(*) FILTER (WHERE position <= $1) AS facts_in_the_middle
          FROM {schema}.account_facts
         GROUP BY account) AS facts USING (account);

-- decision --
-- How many accounts have asked for what each decision is about: those that were made well before the middle.
SELECT decision AS name,
       count(DISTINCT account) AS askers_now,
       count(DISTINCT account) FILTER (WHERE asks.position <= $1) AS askers_in_the_middle,
       count(DISTINCT account) FILTER (WHERE asks.position <= made.position) AS askers_when_made
  FROM {schema}.decisions_made AS made
  CROSS JOIN unnest(made.requirements) AS about(requirement)
  JOIN {schema}.asks AS asks ON asks.requirement = about.requirement
 WHERE made.position < $1 * 0.9
 GROUP BY decision;
