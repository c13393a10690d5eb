"""From a dataset's name to fixed splits of sequences: download or read, check, split, transform, store."""
