from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.seven_point import (
    MAX_SCORE,
    POINTS,
    infer_melanoma,
    predicted_classes,
    seven_point_score,
)

CLASSES = {name: tuple(points) for name, points in POINTS.items()}


def test_points_are_summed_as_published():
    nothing = {name: ["ABS"] for name in POINTS}
    assert seven_point_score(nothing).tolist() == [0]
    worth = {"PN": ("ATP", 2), "BWV": ("PRS", 2), "VS": ("IR", 2), "PIG": ("IR", 1)}
    worth |= {"STR": ("IR", 1), "DaG": ("IR", 1), "RS": ("PRS", 1)}
    for name, (scoring, points) in worth.items():
        assert seven_point_score(nothing | {name: [scoring]}).tolist() == [points]
    assert seven_point_score({name: [scoring] for name, (scoring, _) in worth.items()}).tolist() == [MAX_SCORE] == [10]
    regular = {"PN": ["TYP"], "VS": ["REG"], "PIG": ["REG"], "STR": ["REG"], "DaG": ["REG"]}
    assert seven_point_score(nothing | regular).tolist() == [0]


def test_many_cases_at_once_agree_with_one_at_a_time():
    rng = np.random.default_rng(0)
    classes = {name: rng.choice(names, 50) for name, names in CLASSES.items()}
    scores = seven_point_score(classes)
    assert scores.dtype == np.int64
    for row in range(50):
        assert scores[row] == sum(POINTS[name][str(values[row])] for name, values in classes.items())
    assert seven_point_score({name: values[:0] for name, values in classes.items()}).shape == (0,)


def test_melanoma_is_inferred_from_the_threshold_on():
    scores = np.arange(11)
    assert infer_melanoma(scores, 1).tolist() == [False] + [True] * 10
    assert infer_melanoma(scores, 3).tolist() == [False] * 3 + [True] * 8
    for threshold in (0, 11):
        with pytest.raises(InvalidInputError, match="must be from 1 to 10"):
            infer_melanoma(scores, threshold)


def test_what_does_not_fit_is_refused():
    nothing = {name: ["ABS"] for name in POINTS}
    with pytest.raises(InvalidInputError, match="needs the criteria PN, BWV, VS, PIG, STR, DaG, RS, but has PN"):
        seven_point_score({"PN": ["ABS"]})
    with pytest.raises(InvalidInputError, match="the criteria have shapes PN \\(1,\\), BWV \\(2,\\)"):
        seven_point_score(nothing | {"BWV": ["ABS", "ABS"]})
    with pytest.raises(InvalidInputError, match="criterion VS has no class 'dotted'; it has ABS, REG, IR"):
        seven_point_score(nothing | {"VS": ["dotted"]})
    with pytest.raises(InvalidInputError, match=r"have shape \(2, 3\); they must be \(n, 2\)"):
        predicted_classes(np.ones((2, 3)), ("ABS", "PRS"))
    with pytest.raises(InvalidInputError, match="probabilities are not finite"):
        predicted_classes(np.array([[np.nan, 1]]), ("ABS", "PRS"))
