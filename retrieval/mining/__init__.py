"""Mining: from two corpora to the pairs that translate each other."""
