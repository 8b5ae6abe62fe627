"""Codes that other tools made: one file per foreign layout. Readers never unpickle and never evaluate."""
