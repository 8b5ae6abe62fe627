"""Label transfer: a teacher on z_S labels the pairs without labels, and a student on z_I learns from it.

The recipe, in the order of the files: preparation.py (what every model here reads), inner_cv.py (how everything is
chosen, on train alone), students/ (families of students; teachers are two of them), teacher.py (choice of the teacher
and the gate), lesson.py (what the student learns from, and with which weight), train.py (rows and controls), decoder.py
(the fitted student as a stored decoder). heads.advice says beforehand whether it can be expected to help.

The output is not averaged with plain I, as that of margins is: these students have seen the labels themselves, and
averaged like that they lose .03 (digits, fou taught by kar, 50 labels and 1,000 unlabelled pairs).

Why this and no G that reconstructs z_S: where all pairs are labelled, guidance was never told from its control; where
pairs outnumber labels, z_S labels what z_I alone cannot.
"""
