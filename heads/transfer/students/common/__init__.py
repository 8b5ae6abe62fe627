"""The contract of student families, and what they share."""
