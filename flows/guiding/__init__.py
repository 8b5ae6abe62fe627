"""Codes -> heads -> runs: what is asked for, trained, committed and scored."""
