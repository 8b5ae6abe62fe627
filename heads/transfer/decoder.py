"""The fitted student as a decoder of raw codes, which the store keeps and `load_decoder` loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from guidestore.heads.checks import check_codes
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.transfer.preparation import Preparation
from guidestore.heads.transfer.students.common.protocol import Student, Tensors


class StudentDecoder:
    """Preparation and one model of a student family. Contract: heads.protocol.FrozenDecoder.

    It has no fit of the Decoder contract: that takes hard labels, and a student learns soft targets (heads.transfer).
    """

    def __init__(self, student: Student, preparation: Preparation, tensors: Tensors, facts: dict[str, float]) -> None:
        self.student, self._preparation, self._tensors = student, preparation, tensors
        self.name = student.name
        self.facts = facts
        """What the choice found: inner_cv, regularisation; {} on loaded objects."""

    @property
    def keeps_train_codes(self) -> bool:
        """Whether the family keeps landmarks."""
        return "train" in self._tensors

    @property
    def config(self) -> dict[str, Any]:
        return self.student.config

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=len(self._preparation.mean))
        return self.student.probabilities(self._tensors, self._preparation.apply(x_nd))

    def tensors(self) -> dict[str, np.ndarray]:
        return self._preparation.tensors() | self._tensors

    def onnx(self, x: Value) -> Value:
        return self.student.onnx(self._tensors, self._preparation.onnx(x))

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        from guidestore.heads.registry import STUDENTS

        student = STUDENTS.load(str(config.get("name")).removesuffix("-student")).from_config(config)
        preparation = Preparation.from_tensors(tensors, student.name)
        return cls(student, preparation, student.check(tensors, len(preparation.offset)), {})
