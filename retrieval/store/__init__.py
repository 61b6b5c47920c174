"""TextIndex: sentences, their vectors and metadata behind one folder, changed and searched."""
