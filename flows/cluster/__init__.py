"""Encoding and sweeps in batches on a Ray cluster, through Prefect. What comes out is what one process would make."""
