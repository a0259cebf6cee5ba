"""Takes a log and its read models out of a ledger, as files that can be checked, and a log into another one."""
