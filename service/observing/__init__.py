"""What the operator sees of the service: a line and a few numbers a request, never its texts."""
