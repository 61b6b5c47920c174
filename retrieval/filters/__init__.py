"""Filters: which pairs are no translations."""
