"""The one trainer of fully connected networks: many of one shape at once, a single fit as a batch of one.

head.py says what one network is trained on and how; train.py takes a list of them, puts wide codes of few cases into
the span of their rows (row_space.py) and cuts the list into batches, as many at once as memory.py says. batch.py runs
the epochs of one batch: draws.py keys all randomness, sharing.py finds the heads that read the same rows, reader.py
reads them, stack.py and losses.py do a step of all heads at once.

Axes: h head, v group of heads that read the same rows (see sharing.py), n row, b row of a step, d width, k class.
"""
