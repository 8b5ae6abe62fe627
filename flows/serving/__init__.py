"""What `guidestore serve` registers with Prefect: a file for each deployment, all thin over plain functions."""
