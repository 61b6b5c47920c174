"""Sentences to vectors on disk: made, centred, told apart by their manifests."""
