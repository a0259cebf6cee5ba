"""The services: the ledger records, the projector answers, the command line drives both."""
