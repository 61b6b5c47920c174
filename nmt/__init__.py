"""Translation: models that start from a multilingual language model, trained, run and scored."""
