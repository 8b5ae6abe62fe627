"""One trained model: predictions of new cases, and export as a folder."""
