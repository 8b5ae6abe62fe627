"""Families of students, one file each, and their registry."""
