"""How the products of a network are rounded: a choice of who encodes, part of the recipe, the same on every device."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from guidestore.embeddings.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "tf32", "bfloat16"]

_UNDETERMINED = "does not have a deterministic implementation"
"""What torch says of an operation that it cannot repeat bit for bit on a GPU."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """precision: of products; sums, scales and codes are float32 in all three. tf32 keeps 10 bits of a factor's
    mantissa, and is float32 where there are no tensor cores; bfloat16 keeps 7. deterministic: the same bits each time
    on one GPU, at some cost of time; a CPU gives them anyway.
    """

    precision: Precision = "float32"
    deterministic: bool = False

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any] | None) -> Self:
        """As an encoder's preprocessing says it."""
        told = preprocessing or {}
        return cls(told.get("precision", "float32"), told.get("deterministic", False))

    def as_dict(self) -> dict[str, Any]:
        """For `EncoderSpec.preprocessing`: what is not the default, so that plain float32 needs no word."""
        told: dict[str, Any] = {} if self.precision == "float32" else {"precision": self.precision}
        return told | ({"deterministic": True} if self.deterministic else {})

    def in_words(self) -> str:
        return self.precision + (", deterministic" if self.deterministic else "")

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Products of this thread on `device` are rounded so within it; TF32 is off there unless it is asked for.

        Raises InvalidInputError where the network has an operation that cannot be made deterministic.
        """
        import torch

        switched = (
            _SWITCHES.at(self.precision == "tf32", self.deterministic) if device.type == "cuda" else nullcontext()
        )
        try:
            with switched, torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                yield
        except RuntimeError as error:
            if _UNDETERMINED not in str(error):
                raise
            operation = str(error).split(_UNDETERMINED)[0].strip()
            raise InvalidInputError(
                f"{operation} of this network cannot be repeated bit for bit on a GPU; leave --deterministic out, or "
                "compute on the CPU"
            ) from error


FLOAT32 = Arithmetic()


class _Switches:
    """TF32 and determinism are switches of the whole process: whoever wants them otherwise waits for those inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._wanted = self._before = (False, False, False)

    @contextmanager
    def at(self, tf32: bool, deterministic: bool) -> Iterator[None]:
        wanted = (tf32, tf32, deterministic)
        with self._changed:
            self._changed.wait_for(lambda: not self._inside or self._wanted == wanted)
            if not self._inside:
                self._before, self._wanted = self._set(wanted), wanted
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._set(self._before)
                    self._changed.notify_all()

    def _set(self, switches: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
        """Sets TF32 of products, TF32 of convolutions, and determinism; gives what they were."""
        import torch

        before = (
            bool(torch.backends.cuda.matmul.allow_tf32),
            bool(torch.backends.cudnn.allow_tf32),
            torch.are_deterministic_algorithms_enabled(),
        )
        if switches[2]:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may choose anew at each call
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, _ = switches
        torch.use_deterministic_algorithms(switches[2])
        return before


_SWITCHES = _Switches()
