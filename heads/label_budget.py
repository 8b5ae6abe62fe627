"""Hides labels of the train part, to ask what guidance would give at a smaller label budget."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_number, check_seed
from guidestore.heads.outcomes import strata


def hide_labels(paired: PairedCodes, labelled: int | None, *, seed: int) -> PairedCodes:
    """The training set with `labelled` labelled train cases (None: all of them); the others become unlabelled (-1).

    The cases are dealt class by class (of other kinds, stratum by stratum: heads.outcomes.strata), in a shuffled order
    of the classes, so that classes are as even as they can be and every class of the train part has at least one; a
    class that runs out leaves its turn to the others. A larger budget of the same seed keeps all labels of a smaller
    one. Val and test keep theirs.

    Raises InvalidInputError for a budget that is larger than the labels there are, or too small for one per class.
    """
    check_seed(seed)
    if labelled is None:
        return paired
    check_number(labelled, "labelled", 1, integer=True)
    train = paired.rows("train", paired.has_label)
    where = f"{paired.cohort}/{paired.split}/{paired.fold}"
    if labelled > len(train):
        raise InvalidInputError(
            f"{where}: {labelled} labels are asked for, but {len(train)} train cases are labelled for {paired.target}; "
            "ask for fewer, or for all"
        )
    rng = np.random.default_rng(seed)
    alike = strata(paired)
    present = rng.permutation(np.unique(alike[train]))
    if labelled < len(present) and paired.kind in ONE_CLASS_KINDS:
        raise InvalidInputError(
            f"{where}: {labelled} labels cannot show each of the {len(present)} classes of {paired.target}; ask for at "
            f"least {len(present)}"
        )
    # The turn of a case within its class, then that of its class: the order in which labels are dealt.
    turns = [
        (turn, place, row)
        for place, c in enumerate(present)
        for turn, row in enumerate(rng.permutation(train[alike[train] == c]))
    ]
    kept = [row for _, _, row in sorted(turns)[:labelled]]
    y = paired.y.copy()
    y[np.setdiff1d(train, kept)] = -1 if paired.kind in ONE_CLASS_KINDS else np.nan
    return paired.with_y(y)
