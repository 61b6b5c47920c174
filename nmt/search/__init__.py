"""Greedy, beam and sampling search on an encoder–decoder."""
