"""Training: sequences and a variant's config in, weights and a journal out."""
