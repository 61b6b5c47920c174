"""The database of the service: where it is, its tables, and how they came to be what they are."""
