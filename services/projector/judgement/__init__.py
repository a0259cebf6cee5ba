"""What one ask, decision or promise comes to: fits, lenses, names, what is at stake. Pure."""
