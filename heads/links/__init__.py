"""From what closed forms regress to what is foretold, a file per kind of target.

A closed form is least squares on `targets` of the outcomes; what it says are scores of the same columns. A link makes
the outcome of scores, fitted on scores of cases that were held out: link.py says what it is, table.py which kind has
which. (Of classes: heads.kernels.scoring and one temperature.)
"""
