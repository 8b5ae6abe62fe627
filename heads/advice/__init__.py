"""Can guidance be expected to help on this training set, and which? Foretold before anything is trained.

The guided rows, their controls and the references for I are smoothers (heads.kernels), so that a fold of inner
cross-validation costs a few decompositions. codes.py makes code sets small and draws the folds, fold.py trains every
row and control in one of them, areas.py says what AUROC each has and how sure a difference is, advise.py makes advice
of it.
"""
