"""Training: config, data, loop, checkpoints, measuring on development data."""
