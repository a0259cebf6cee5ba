-- is_revised --
-- Whether there is any revision of an agreement.
SELECT EXISTS (SELECT FROM {schema}.agreement_revisions WHERE agreement = $2 AND position <= $1) AS revised;

-- named_by_feedback --
-- The names of accounts that any feedback has.
SELECT DISTINCT account
  FROM {schema}.feedback_rows AS said
 WHERE position <= $1 AND account IS NOT NULL AND {stands said};
