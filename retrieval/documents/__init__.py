"""Documents: the sentences of two texts aligned in order."""
