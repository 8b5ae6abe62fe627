"""Codes -> predictions: guidance models G: z_I -> z_S, decoders: code -> class probabilities, the five input rows.

Start at `heads.protocol` (the contracts) and `heads.registry` (names -> models); `heads.input_rows` trains the rows of
the paper's tables. Of ours this package imports embeddings.types and embeddings.errors alone, and it imports with
numpy and torch alone: scikit-learn and scipy load inside the functions that use them.
"""
