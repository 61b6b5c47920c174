"""Retrieval: sentence vectors, indexes, mining, documents, and what scores them.

This package knows ``bitext`` and ``encoders``, and nothing of the other tasks. FAISS is imported in
``index/`` and nowhere else.
"""
