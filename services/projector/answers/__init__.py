"""Answers: what is read for each, at one position, and how it is shown; and what several of them read."""
