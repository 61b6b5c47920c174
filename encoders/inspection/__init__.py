"""What each layer of a model is good for: ``bitext inspect`` and what it measures by."""
