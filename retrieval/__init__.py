"""Retrieval: sentence vectors on disk, exact search, and the sentences behind an index.

This package knows ``bitext`` and ``encoders``, and nothing of the other tasks. FAISS is imported in
``index.py`` and nowhere else.
"""
