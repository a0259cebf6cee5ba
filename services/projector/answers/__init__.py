"""What can be asked: one module an answer, each computed at one position, in one snapshot of the read models."""
