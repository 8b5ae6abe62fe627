"""Encoding slides: the whole pipeline against its two halves, the encoder on tiles in memory and the reader alone.

The encoders are true networks with random weights, read from a file. Target: the pipeline reaches 0.9 of the encoder's
own rate on a CPU, and 0.9 of the slower of encoder and reader on a GPU.
Run: python tests/benchmarks/encode_pipeline.py [--device cuda] [--readers N] [SLIDE ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from guidestore.embeddings.types import Bag
from guidestore.encoders.pathology_models import MODELS
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import build_encoder, encoder_info
from guidestore.encoders.slides.encode import encode_slides
from guidestore.encoders.slides.stream import SlideJob, TileBatch, stream_slides
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.timm_patch import build_network
from tests.benchmarks.measuring import show

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
SLIDE = DATA / "slides/CMU-1-Small-Region.svs"
ENCODERS = {"cpu": ("resnet50_trunc",), "cuda": ("resnet50_trunc", "uni")}
"""uni is a ViT-L/16."""
SLIDES = {"cpu": 3, "cuda": 60}
REPEATS = 5


def random_weights(name: str, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in build_network(MODELS[name]).state_dict().items():
        # Of the scale of trained ones: activations that vanish would be denormal numbers, which are slow.
        drawn = (
            torch.randn(value.shape, generator=generator) * max(value[0].numel() if value.ndim > 1 else 100, 1) ** -0.5
        )
        is_scale = key.endswith(("running_var", "gamma")) or (value.ndim == 1 and key.endswith("weight"))
        state[key] = (drawn + 1 if is_scale else drawn).to(value.dtype)
    save_file(state, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def batches_of(jobs: list[SlideJob], tiling: TilingSettings, readers: int) -> list[np.ndarray]:
    """All tiles, as the pipeline batches them."""
    batches = []
    for event in stream_slides(jobs, tiling, readers=readers):
        assert isinstance(event, TileBatch)
        batches.append(event.tiles_bhwc)
    return batches


def count_read(jobs: list[SlideJob], tiling: TilingSettings, readers: int) -> int:
    return sum(len(event.tiles_bhwc) for event in stream_slides(jobs, tiling, readers=readers))  # pyright: ignore


def count_encoded(jobs: list[SlideJob], encoder: Encoder, tiling: TilingSettings, readers: int) -> int:
    tiles = 0
    for _, bag in encode_slides(jobs, encoder, tiling, readers=readers):
        assert isinstance(bag, Bag)
        tiles += len(bag)
    return tiles


def count_forwarded(batches: list[np.ndarray], encoder: Encoder) -> int:
    return sum(len(encoder.encode(batch)) for batch in batches)


def measure(name: str, weights: Path, jobs: list[SlideJob], device: str, readers: int) -> list[str]:
    info = encoder_info(name)
    tiling = TilingSettings(info.mpp, info.tile_size_px)
    encoder = build_encoder(name, weights=weights, device=device, preprocessing=tiling.as_dict())
    batches = batches_of(jobs[:4], tiling, readers) * max(len(jobs) // 4, 1)
    encoder.encode(batches[0])  # Warm up.
    actions: dict[str, Callable[[], int]] = {
        "reader": lambda: count_read(jobs, tiling, readers),
        "encoder": lambda: count_forwarded(batches, encoder),
        "pipeline": lambda: count_encoded(jobs, encoder, tiling, readers),
    }
    rates: dict[str, list[float]] = {part: [] for part in actions}
    for _ in range(REPEATS):  # In turns, so that a busy machine slows all alike.
        for part, action in actions.items():
            start = time.perf_counter()
            tiles = action()
            rates[part].append(tiles / (time.perf_counter() - start))
    rows = list(zip(rates["reader"], rates["encoder"], rates["pipeline"], strict=True))
    return [
        f"{name}, {info.tile_size_px} px",
        *(f"{statistics.median(rates[part]):.1f}" for part in actions),
        f"{statistics.median(whole / forward for _, forward, whole in rows):.2f}",
        f"{statistics.median(whole / min(read, forward) for read, forward, whole in rows):.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slides", nargs="*", type=Path, default=[SLIDE])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--readers", type=int, default=2)
    chosen = parser.parse_args()
    count = SLIDES[chosen.device]
    jobs = [SlideJob(chosen.slides[i % len(chosen.slides)]) for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(name, random_weights(name, Path(folder)), jobs, chosen.device, chosen.readers)
            for name in ENCODERS[chosen.device]
        ]
    show(
        f"{count} slides on {chosen.device}, {chosen.readers} readers, {torch.get_num_threads()} torch threads; "
        f"tiles/s, medians of {REPEATS}",
        ["encoder", "reader", "encoder", "pipeline", "of the encoder", "of the slower"],
        rows,
    )


if __name__ == "__main__":
    main()
