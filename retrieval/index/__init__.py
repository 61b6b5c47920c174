"""Index: the nearest vectors, exactly or nearly; the only room that knows FAISS."""
