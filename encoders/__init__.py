"""Shared model loading, and everything done to the model: encoding, pretraining, adaptation."""
