"""New languages: more pieces, a factorised vocabulary, adapters, transliteration."""
