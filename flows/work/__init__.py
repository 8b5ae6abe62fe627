"""What every flow uses: progress, threads, reading ahead, base settings."""
