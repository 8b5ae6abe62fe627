"""References for row I: what z_I alone gives, trained well. A gain counts only over row I and over every one of them.

Six decoders, R(I): linear and RBF kernel ridge on label scores and logistic regression, each with its penalty chosen by
loss (squared error, log loss) and by score (balanced accuracy + AUROC), in inner cross-validation on the labelled train
cases that row I sees. One of the two choices alone is a weak I: in simulation I has .651 AUROC by squared error and
.700 by score. They depend on the training set alone, so all guidance models share them.
"""
