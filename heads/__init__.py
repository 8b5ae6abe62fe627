"""Codes -> predictions: guidance models G: z_I -> z_S, decoders: code -> class probabilities, the five input rows.

Start at `heads.protocol` (the contracts), `heads.registry` (names -> models) and `heads.input_rows` (what heads read);
`heads.rows` trains the rows of the paper's tables, `heads.prediction` predicts with them. One file is one guidance
model, decoder, fusion or student, with its presets and its ONNX form; what several share is in `common` beside them.
Of ours this package imports the types, errors, runs and plugins of embeddings alone, and it imports with numpy and
torch alone: scikit-learn and scipy load inside the functions that use them.
"""
