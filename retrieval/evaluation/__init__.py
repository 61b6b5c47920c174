"""Evaluation: retrieval and mining against gold."""
