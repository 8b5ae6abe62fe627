"""Prefect's server and the processes that run flows."""
