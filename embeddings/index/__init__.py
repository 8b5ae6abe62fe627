"""The nearest neighbours of codes: exact for a small code set, by a stored faiss index for a large one."""

from guidestore.embeddings.index.neighbours import CodeIndex, Neighbour, nearest, open_index

__all__ = ["CodeIndex", "Neighbour", "nearest", "open_index"]
