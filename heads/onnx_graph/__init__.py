"""Heads as ONNX graphs: what a row computes from z_I alone, for a runtime that knows nothing of guidestore."""
