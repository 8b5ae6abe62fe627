"""Decoders of survival, one file each."""
