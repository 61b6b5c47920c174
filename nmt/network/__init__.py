"""The encoder–decoder: built, started from an encoder, loaded and saved."""
