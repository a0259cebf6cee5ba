-- revisions --
-- Every revision of every agreement, the oldest first.
SELECT * FROM {schema}.agreement_revisions WHERE position <= $1 ORDER BY position;

-- revisions_of --
-- Every revision of one agreement, the oldest first.
SELECT * FROM {schema}.agreement_revisions WHERE agreement = $2 AND position <= $1 ORDER BY position;

-- adoptions --
-- Every adoption, in the order in which they come into force.
SELECT * FROM {schema}.agreement_adoptions WHERE position <= $1 ORDER BY in_force_from, position;

-- adoptions_of --
-- Every adoption of revisions of one agreement, in the order in which they come into force.
SELECT * FROM {schema}.agreement_adoptions
 WHERE agreement = $2 AND position <= $1
 ORDER BY in_force_from, position;

-- endorsements_of --
-- What teams said of the revisions of one agreement.
SELECT * FROM {schema}.agreement_endorsements WHERE agreement = $2 AND position <= $1 ORDER BY position;
