"""Checks one answer offline: from the events that it carries, and the key of the log."""
