"""Slides and volumes into codes: reader, encoder and both together, how long the GPU idles, and what a reader costs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from guidestore.embeddings.types import Bag
from guidestore.encoders.arithmetic import Arithmetic
from guidestore.encoders.densenet3d import DenseNet3d, DenseNet3dConfig, DenseNet3dEncoder, densenet121
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.encode import encode_slides
from guidestore.encoders.slides.stream import SlideJob, TileBatch, stream_slides
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.training import train_classifier
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.weights import tensors_of
from tests.gpu.making import large_pyramid, random_weights, real_slide, tiles
from tests.gpu.report import Report

TILING = TilingSettings(0.5, 256)
PIPELINE_BAR, IDLE_BAR, TRAINING_BAR = 0.95, 0.05, 0.7
SECONDS = {False: 4.0, True: 1.0}
"""Of tiles for each measurement, about; small or not."""


def run(report: Report) -> None:
    slide = real_slide()
    with tempfile.TemporaryDirectory() as folder:
        if slide is None:
            report.must("the slide CMU-1-Small-Region.svs", False, "put it into .gpu-data/slides")
        else:
            slides(report, slide, Path(folder))
    volumes(report)


def slides(report: Report, slide: Path, folder: Path) -> None:
    count = 2 if report.small else 60
    jobs = {f"{count} x CMU-1-Small-Region": [SlideJob(slide)] * count}
    if not report.small:
        large = large_pyramid(slide, folder / "large.tiff")
        jobs["a pyramid of 40,000 px"] = [SlideJob(large)]
    many = (2,) if report.small else (2, 8, 16)
    names = ("test_resnet",) if report.small else ("resnet50_trunc", "uni")
    rates: dict[tuple[str, int], float] = {}
    for what, of in jobs.items():
        for readers in many:
            rates[what, readers] = _read_rate(of, readers, SECONDS[report.small])
            report.say(f"{what}: {readers} readers alone", f"{rates[what, readers]:.0f} tiles/s")
    for name in names:
        preprocessing = TILING.as_dict() | Arithmetic("float32" if report.small else "bfloat16").as_dict()
        encoder = build_encoder(
            name, weights=random_weights(name, folder), device=report.device, preprocessing=preprocessing
        )
        size = getattr(encoder, "batch_tiles", 64) if report.is_gpu else 16
        batch = tiles(size, 256)
        own = size / report.seconds(lambda e=encoder, b=batch: e.encode(b), 2 if report.small else 8)
        report.say(f"{name}: encoder alone", f"{own:.0f} tiles/s")
        for what, of in jobs.items():
            for readers in many:
                done, seconds = _encoded(of, encoder, readers, SECONDS[report.small])
                slower = min(own, rates[what, readers])
                share = done / seconds / slower
                report.check(
                    f"{name}, {what}, {readers} readers: whole",
                    share >= PIPELINE_BAR,
                    f"{done / seconds:.0f} tiles/s, {share:.2f} of the slower (bar {PIPELINE_BAR})",
                )
                if rates[what, readers] > 1.2 * own:
                    idle = 1 - done / own / seconds
                    report.check("   the encoder idles", idle <= IDLE_BAR, f"{idle:.0%} (bar {IDLE_BAR:.0%})")


def _read_rate(jobs: list[SlideJob], readers: int, most_s: float) -> float:
    start, count = time.perf_counter(), 0
    events = stream_slides(jobs, TILING, readers=readers, prefetch_tiles=2048)
    for event in events:
        assert isinstance(event, TileBatch)
        count += len(event.tiles_bhwc)
        if time.perf_counter() - start > most_s:
            break
    seconds = time.perf_counter() - start
    events.close()
    return count / seconds


class _Counting:
    """The encoder, and how many tiles it was given: a large slide is not waited for."""

    def __init__(self, inner: Encoder) -> None:
        self._inner, self.spec, self.seen = inner, inner.spec, 0
        self.batch_tiles = getattr(inner, "batch_tiles", 64)
        self.empty = getattr(inner, "empty", np.empty)

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        return self.begin(batch)()

    def begin(self, batch: np.ndarray, /):
        fetch = self._inner.begin(batch)  # pyright: ignore

        def counted() -> np.ndarray:
            codes = fetch()
            self.seen += len(codes)
            if time.perf_counter() > self.ends:
                raise TimeoutError
            return codes

        return counted

    ends = float("inf")


def _encoded(jobs: list[SlideJob], encoder: Encoder, readers: int, most_s: float) -> tuple[int, float]:
    """Tiles and seconds, of `most_s` or the whole."""
    counting, start = _Counting(encoder), time.perf_counter()
    counting.ends = start + most_s
    bags = encode_slides(jobs, counting, TILING, readers=readers, prefetch_tiles=2048)
    try:
        for _, bag in bags:
            assert isinstance(bag, Bag)
    except TimeoutError:
        pass
    seconds = time.perf_counter() - start
    bags.close()
    return counting.seen, seconds


def volumes(report: Report) -> None:
    """DenseNet121 at the paper's size, 4 x 140 x 220 x 220, as it is encoded and trained, against the bare network."""
    shape, n, size = ((4, 16, 24, 24), 4, 2) if report.small else ((4, 140, 220, 220), 8, 2)
    precision = "float32" if report.small else "bfloat16"
    config = DenseNet3dConfig(4) if report.small else densenet121(4)
    module = DenseNet3d(config)
    data = np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)
    module.reset(data, torch.Generator().manual_seed(0))
    arithmetic = Arithmetic(precision)  # pyright: ignore[reportArgumentType]
    encoder = DenseNet3dEncoder(
        config=module.config, tensors=tensors_of(module), device=report.device, preprocessing=arithmetic.as_dict()
    )
    if report.is_gpu:
        torch.cuda.reset_peak_memory_stats(report.device)
    taken = report.seconds(lambda: [encoder.encode(data[i : i + 1]) for i in range(n)], 2)
    report.say(f"DenseNet121 {precision}: encoding one by one", f"{n / taken:.1f} cases/s{_peak(report)}")

    network = encoder.module.train().requires_grad_(True)
    resident = torch.from_numpy(data[:size]).to(report.device)
    optimiser = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimiser.zero_grad()
        with arithmetic.on(torch.device(report.device)):
            network(resident).square().mean().backward()
        optimiser.step()

    own = size / report.seconds(step, 3)
    report.say("DenseNet121: steps on tensors that are there", f"{own:.1f} cases/s{_peak(report)}")
    y = {"t": np.arange(n) % 2}
    rows: list[dict[str, float]] = []
    settings = TrainingSettings(epochs=3, patience=3, batch_size=size, learning_rate=1e-4)
    train_classifier(
        module, data, y, data[:2], {"t": y["t"][:2]}, n_classes={"t": 2}, settings=settings, seed=0,
        progress=rows.append, device=report.device, arithmetic=arithmetic,
    )  # fmt: skip
    ours = max(n / row["seconds"] for row in rows[1:])
    report.check(
        "DenseNet121: training",
        ours >= TRAINING_BAR * own,
        f"{ours:.1f} cases/s, {ours / own:.2f} of that (bar {TRAINING_BAR}){_peak(report)}",
    )


def _peak(report: Report) -> str:
    return f", {torch.cuda.max_memory_allocated(report.device) / 2**30:.1f} GiB" if report.is_gpu else ""
