"""The commands of `guidestore`, a file for each part of the work. Each imports what it needs when it runs."""
