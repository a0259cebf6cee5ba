"""What an outsider checks the log by: the tree, its tiles, signed notes, checkpoints and proofs. Pure."""
