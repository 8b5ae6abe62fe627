"""Margins: a student on z_I regresses the scores of a teacher on z_S and is averaged with plain I. Row M(I).

The recipe, in the order of the files: teacher.py (the teacher, and what it says of pairs whose label it did not see),
lessons.py (whose scores a student learns from: controls get those of others),
folds.py (what one inner cross-validation holds out), train.py (the choices, the gate, rows and controls).

A score near 0 tells that a case is hard, which its label does not. Where S is better than I but does not settle the
label, that gained on real cohorts what reconstructing z_S never did.
"""
