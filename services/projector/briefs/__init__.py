"""One decision, told for engineering and for sales. Pure."""
