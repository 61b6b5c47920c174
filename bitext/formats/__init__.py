"""Files of word alignments, in the formats of the field."""
