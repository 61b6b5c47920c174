"""Translating text: a model as an object, files, back-translation."""
