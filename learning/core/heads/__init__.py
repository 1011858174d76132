"""Classification heads over frozen embeddings."""
