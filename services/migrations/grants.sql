-- registry --
-- What the roles may do outside the ledgers.
GRANT USAGE ON SCHEMA registry TO {writer}, {projector}, {auditor};
GRANT SELECT ON ALL TABLES IN SCHEMA registry TO {writer}, {projector}, {auditor};
GRANT INSERT, UPDATE (revoked_at, revoked_by) ON registry.api_keys TO {writer};

-- ledger --
-- What the roles may do in one ledger. To lock the head row takes the privilege to update it; a trigger refuses that.
GRANT USAGE ON SCHEMA {schema} TO {writer}, {projector}, {auditor};
GRANT SELECT ON {schema}.stored_events, {schema}.log_head TO {writer}, {projector}, {auditor};
GRANT INSERT ON {schema}.stored_events TO {writer};
GRANT UPDATE ON {schema}.log_head TO {writer};
GRANT SELECT, INSERT ON {schema}.sealing_keys TO {writer};
GRANT SELECT ON {schema}.sealing_keys TO {projector}, {auditor};
GRANT CREATE ON SCHEMA {schema} TO {projector};
GRANT USAGE, CREATE ON SCHEMA {rebuild} TO {projector};
GRANT USAGE ON SCHEMA {rebuild} TO {auditor};
