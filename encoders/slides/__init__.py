"""Whole slides -> bags: reader (OpenSlide), tissue mask, tiling, encoding."""
