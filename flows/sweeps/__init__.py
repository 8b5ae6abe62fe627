"""A grid of heads from one file: planned, trained, ranked."""
