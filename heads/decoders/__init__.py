"""Decoders: codes -> class probabilities, one file each."""
