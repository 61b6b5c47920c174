"""Machine translation: networks that start from the multilingual model, training, translating."""
