"""What several answers show, and in which shape. Pure."""
