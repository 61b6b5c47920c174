"""Sentences to pieces and back: vocabularies, language tags, hub tokenizers."""
