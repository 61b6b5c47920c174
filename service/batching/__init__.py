"""Requests that share the models: who is let in, what is computed together, what is told of it."""
