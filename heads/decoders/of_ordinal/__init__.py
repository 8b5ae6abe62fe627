"""Decoders of grades, in their order, one file each."""
