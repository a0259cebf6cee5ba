-- revoke_registry --
-- Take back what a role had outside the ledgers, so that a grant that is no longer listed here does not stay.
REVOKE ALL ON ALL TABLES IN SCHEMA registry FROM {user};
REVOKE ALL ON SCHEMA registry FROM {user};

-- registry --
-- What the roles may do outside the ledgers.
GRANT USAGE ON SCHEMA registry TO {writer}, {projector}, {auditor};
GRANT SELECT ON ALL TABLES IN SCHEMA registry TO {writer}, {projector}, {auditor};
GRANT INSERT, UPDATE (revoked_at, revoked_by) ON registry.api_keys TO {writer};
GRANT INSERT, UPDATE ON registry.key_uses TO {writer}, {projector};

-- revoke_ledger --
-- The same in one ledger. The tables of read models are the projector's own, and so are their grants.
REVOKE ALL ON {schema}.stored_events, {schema}.log_head, {schema}.sealing_keys, {schema}.refusals,
    {schema}.tree_tiles, {schema}.checkpoints, {schema}.verifier_keys, {schema}.timestamps, {schema}.access_log,
    {schema}.digests, {schema}.digest_keys, {schema}.imports FROM {user};
REVOKE ALL ON SCHEMA {schema}, {rebuild} FROM {user};

-- ledger --
-- What the roles may do in one ledger. To lock the head row takes the privilege to update it; a trigger refuses that.
GRANT USAGE ON SCHEMA {schema} TO {writer}, {projector}, {auditor};
GRANT SELECT ON {schema}.stored_events, {schema}.log_head TO {writer}, {projector}, {auditor};
GRANT INSERT ON {schema}.stored_events TO {writer};
GRANT UPDATE ON {schema}.log_head TO {writer};
GRANT SELECT, INSERT, DELETE ON {schema}.sealing_keys TO {writer};
GRANT SELECT ON {schema}.sealing_keys TO {projector}, {auditor};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.refusals TO {writer};
GRANT SELECT ON {schema}.refusals TO {projector}, {auditor};
GRANT SELECT, INSERT ON {schema}.tree_tiles, {schema}.checkpoints, {schema}.verifier_keys TO {writer};
GRANT SELECT ON {schema}.tree_tiles, {schema}.checkpoints, {schema}.verifier_keys TO {projector}, {auditor};
GRANT INSERT ON {schema}.access_log TO {writer}, {projector};
GRANT SELECT ON {schema}.access_log TO {writer}, {auditor};
GRANT SELECT, INSERT ON {schema}.digests, {schema}.digest_keys TO {projector};
GRANT SELECT ON {schema}.digests, {schema}.digest_keys TO {writer}, {auditor};
GRANT SELECT ON {schema}.imports TO {writer}, {projector}, {auditor};
GRANT SELECT, INSERT ON {schema}.timestamps TO {writer};
GRANT SELECT ON {schema}.timestamps TO {projector}, {auditor};
GRANT CREATE ON SCHEMA {schema} TO {projector};
GRANT USAGE, CREATE ON SCHEMA {rebuild} TO {projector};
GRANT USAGE ON SCHEMA {rebuild} TO {auditor};
