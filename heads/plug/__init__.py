"""Plug: the decoder of S+I, fitted on z_S itself and frozen, reads [G(z_I), z_I]. Row P(I).

D_c of the paper learns on what G makes of z_I, and so may learn to read z_I through G. This decoder learns what z_S
says of the class, and G only stands in for z_S. Where S mediates a noisy outcome that gains what labels alone cannot
show; where it does not, the choice leaves the S block out and the row is a ridge, or a logistic regression, on z_I.

superior.py says what stands for z_S (the controls put something else there), blocks.py has the decoders, choice.py
chooses G and both penalties by what was held out, guidance.py keeps the G, train.py trains the row and its controls.
"""
