"""What uses z_S in training without a G in front of D_c: the baselines that guidance is compared with.

| row | what it is | needs at test time |
|---|---|---|
| KD(I) | a student on z_I imitates the teacher on z_S, both softened (Hinton et al. 2015) | z_I |
| GD(I) | the same with an unsoftened student (generalized distillation, Lopez-Paz et al. 2016) | z_I |
| E(I) | mean of the probabilities of row I and of row G(I) (decision-level ensemble) | z_I |

distillation.py and ensemble.py train the rows, student.py the network that learns soft labels, train.py is the door.
"""
