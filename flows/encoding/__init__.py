"""Pixels -> codes in the store: cohorts, encoding, training of encoders, import, attention maps."""
