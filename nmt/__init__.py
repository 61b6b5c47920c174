"""Translation models: initialised from a multilingual language model, trained, searched, exported."""
