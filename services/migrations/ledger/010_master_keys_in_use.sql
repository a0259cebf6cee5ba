-- No sealing key is kept under a master key that was retired or given up, or that the registry does not know.
CREATE TRIGGER sealing_keys_come_under_a_master_key_in_use
    AFTER INSERT ON {schema}.sealing_keys
    REFERENCING NEW TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_master_key_out_of_use();
ALTER TABLE {schema}.sealing_keys ENABLE ALWAYS TRIGGER sealing_keys_come_under_a_master_key_in_use;

CREATE TRIGGER sealing_keys_go_under_a_master_key_in_use
    AFTER UPDATE ON {schema}.sealing_keys
    REFERENCING NEW TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_master_key_out_of_use();
ALTER TABLE {schema}.sealing_keys ENABLE ALWAYS TRIGGER sealing_keys_go_under_a_master_key_in_use;
