"""Heads as ONNX graphs: what a row computes from z_I alone, for a runtime that knows nothing of guidestore.

graph.py is the builder, trees.py its one node for trees; what a model computes stands beside it (its method `onnx`),
and head.py puts a row together.
"""
