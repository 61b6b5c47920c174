"""Translation models: started from a multilingual encoder, trained, searched, exported."""
