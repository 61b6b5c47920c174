"""Jobs: what takes longer than a request, kept in the database and run by ``bitext worker``."""
