"""Trains the paper's five input rows and their controls on paired codes.

job.py says what is asked for, checking.py refuses what cannot be trained, guidance.py fits every G, decoders.py every
decoder on what reading.py gives it, and train.py is the door.
"""
