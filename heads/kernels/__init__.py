"""Linear smoothers on codes: kernel ridge with a linear or an RBF kernel, in closed form.

preparation.py makes codes comparable, smoother.py decomposes a kernel once for all penalties and targets, selection.py
chooses kernel and penalty by what was held out, scoring.py says how good scores are, calibration.py makes probabilities
of them, and decoder.py is what the store keeps of a fit.
"""
