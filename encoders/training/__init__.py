"""Training: text to batches, recipes, the loop, pretraining and adaptation."""
