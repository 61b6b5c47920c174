"""What a corpus tells by counting: which words translate each other, and first vectors."""
