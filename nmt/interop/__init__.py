"""Other programs' data and models, read and written here: fairseq, CTranslate2."""
