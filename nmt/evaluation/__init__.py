"""Scores of translations, and what shows without a reference."""
