"""Decoders of values, one file each."""
