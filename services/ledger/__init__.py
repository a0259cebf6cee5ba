"""The write side: HTTP → rules → sequencer → log. It does not know that projections exist."""
