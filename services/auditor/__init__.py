"""The auditor: checks a log, its tree and its read models, and trusts nobody, us included. It only reads."""
