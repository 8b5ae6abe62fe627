"""What parts say and measure with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

CEILINGS = "CEILINGS "
FAILED = "FAILED"


@dataclass(frozen=True)
class Report:
    """Of one part."""

    device: str
    small: bool
    ceilings: Mapping[str, float]
    """flops and bytes per second, measured by the first part; empty before it."""

    @property
    def is_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def say(self, what: str, value: str) -> None:
        print(f"   {what:<66} {value}", flush=True)

    def check(self, what: str, holds: bool, value: str) -> None:
        """A bar: on the real sizes one that is missed fails the run."""
        verdict = "ok" if holds else ("missed, small" if self.small else FAILED)
        print(f"   {verdict + ' ' + what:<66} {value}", flush=True)

    def must(self, what: str, holds: bool, value: str) -> None:
        """What is right or wrong at any size."""
        print(f"   {('ok' if holds else FAILED) + ' ' + what:<66} {value}", flush=True)

    def over_floor(self, what: str, seconds: float, *, flop: float = 0.0, moved: float = 0.0) -> float:
        """Says how many times the floor `seconds` are: max(FLOP / FLOP per s, bytes / bytes per s) of this run."""
        floor = max(flop / self.ceilings.get("flops", np.inf), moved / self.ceilings.get("bytes", np.inf), 1e-12)
        self.say(what, f"{seconds:.4g} s, floor {floor:.3g} s, {seconds / floor:.1f} x")
        return seconds / floor

    def tell_ceilings(self, flops: float, bytes_: float) -> None:
        print(CEILINGS + json.dumps({"flops": flops, "bytes": bytes_}), flush=True)

    def wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, action: Callable[[], object], repeats: int = 3) -> float:
        """The shortest of some repeats, after one to warm up."""
        action()
        self.wait()
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            action()
            self.wait()
            taken.append(time.perf_counter() - start)
        return min(taken)


def away(got: np.ndarray, wanted: np.ndarray) -> float:
    """Relative distance: the norm of the difference over that of what was wanted."""
    return float(np.linalg.norm(got.astype(np.float64) - wanted) / max(float(np.linalg.norm(wanted)), 1e-30))
