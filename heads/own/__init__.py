"""Models of one's own: a class named ``module:Class``, an object, or what an installed distribution brings.

They get what ours have: the checks of codes and labels, seeds, stored weights, and their code in the identity of a run.
docs/decisions/own-models.md says what is kept of them, and what a store may make this process import.
"""
