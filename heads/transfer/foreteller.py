"""The fitted student and its link as a decoder of raw codes, of outcomes that are no class; and of grades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_codes
from guidestore.heads.links.link import Link
from guidestore.heads.links.table import LINKS
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.transfer.preparation import Preparation
from guidestore.heads.transfer.students.common.protocol import Student, Tensors


class StudentForeteller:
    """Preparation, one model of a student family, and the link of its scores.

    Contract: heads.protocol.FrozenForeteller. As heads.transfer.decoder.StudentDecoder, it has no fit of its own.
    """

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"multilabel", "value"})

    def __init__(
        self,
        kind: TargetKind,
        student: Student,
        preparation: Preparation,
        tensors: Tensors,
        link: Link,
        facts: dict[str, float],
    ) -> None:
        self._kind: TargetKind = kind
        self.student, self._preparation, self._tensors, self._link = student, preparation, tensors, link
        self.name = student.name
        self.facts = facts
        """What the choice found; {} on loaded objects."""

    @property
    def keeps_train_codes(self) -> bool:
        """Whether the family keeps landmarks."""
        return "train" in self._tensors

    @property
    def config(self) -> dict[str, Any]:
        of_student = dict(self.student.config)
        return {"name": of_student.pop("name"), "kind": self._kind, **of_student}

    def scores(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, c) of raw codes."""
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=len(self._preparation.mean))
        return self.student.scores(self._tensors, self._preparation.apply(x_nd))

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        return self._link.say(self.scores(x_nd))

    def tensors(self) -> dict[str, np.ndarray]:
        return self._preparation.tensors() | self._tensors | self._link.tensors()

    def onnx(self, x: Value) -> Value:
        return self._link.onnx(self.student.scores_onnx(self._tensors, self._preparation.onnx(x)))

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> StudentForeteller:
        from guidestore.heads.registry import STUDENTS

        kind: Any = config.get("kind")
        if kind not in LINKS:
            raise InvalidInputError(f"a config of kind {kind!r} cannot make a student; load it by what wrote it")
        without_kind = {name: value for name, value in config.items() if name != "kind"}
        student = STUDENTS.load(str(config.get("name")).removesuffix("-student")).from_config(without_kind)
        preparation = Preparation.from_tensors(tensors, student.name)
        own = student.check(tensors, len(preparation.offset))
        return finished(kind, student, preparation, own, LINKS[kind].from_tensors(tensors, student.name), {})


class StudentOfGrades(StudentForeteller):
    """Of grades: probabilities, as heads.protocol.FrozenDecoder has them."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"ordinal"})

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, k) of the grades in their order."""
        return self._link.say(self.scores(x_nd))

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        from guidestore.embeddings.runs import median_grade

        return median_grade(self.predict_proba(x_nd))


class StudentOfSurvival(StudentForeteller):
    """Of survival: who outlives a time, too."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"survival"})

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """As heads.protocol.SurvivalForeteller has it."""
        link: Any = self._link
        return link.baseline.survival(self.predict(x_nd), times_t)


def finished(
    kind: TargetKind,
    student: Student,
    preparation: Preparation,
    tensors: Tensors,
    link: Link,
    facts: dict[str, float],
) -> StudentForeteller:
    """The decoder of a kind."""
    made = {"ordinal": StudentOfGrades, "survival": StudentOfSurvival}.get(kind, StudentForeteller)
    return made(kind, student, preparation, tensors, link, facts)
