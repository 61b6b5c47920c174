"""What many threads want of one model, computed together."""
