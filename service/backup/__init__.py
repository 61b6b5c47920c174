"""All that a service keeps, in one file and back, while it runs or after it is lost."""
