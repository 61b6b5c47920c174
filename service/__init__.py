"""The service: alignment and retrieval over HTTP, and a page to try them.

FastAPI is imported in this package and nowhere else.
"""
