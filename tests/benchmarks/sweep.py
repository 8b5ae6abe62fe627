"""A RadPath-shaped sweep against a DataLoader loop like the released notebooks, which also trains each distinct G once.

165 / 28 / 28 cases, z_I 1,024, z_S 512; FOLDS folds x 6 autoencoders x 8 MLPs x 2 seeds, the paper's epochs (G 150, D_c
up to 500, patience 200). The sweep is the whole command: planning, loading, training, metrics and commits, with a batch
on each of two cores. The loop is timed on one G and LOOP_HEADS decoders of the same grid, with one thread (a second one
only slows these sizes down), and scaled up. Target: 5 times its heads per second on 2 cores, and less than 15 % of the
wall time outside training.
Run: python -m tests.benchmarks.sweep [FOLDS]; 5 folds are the target's size, 1 takes a fifth of the time
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.sweeps import run as sweeps
from guidestore.flows.sweeps.file import SweepFile
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort
from tests.benchmarks.measuring import show

PARTS = {"train": 165, "val": 28, "test": 28}
D_I, D_S, CLASSES = 1_024, 512, ("G", "O", "A")
LOOP_HEADS = 2
AUTOENCODERS = [{"hidden": hidden, "dropout": d} for hidden in ([512, 256, 256], [256, 256]) for d in (0.0, 0.25, 0.5)]
DECODERS = [{"hidden_units": units, "learning_rate": lr} for units in (25, 50, 100, 200) for lr in (1e-3, 5e-3)]
SEEDS = (0, 1)


def make_store(root: Path, folds: int) -> None:
    rng = np.random.default_rng(0)
    cases = [f"case-{i:03d}" for i in range(sum(PARTS.values()))]
    parts = [part for part, count in PARTS.items() for _ in range(count)]
    labels = rng.integers(0, 3, len(cases))
    rows = [{"case_id": c, "target": "class", "class": CLASSES[k]} for c, k in zip(cases, labels, strict=True)]
    splits = [
        {"split": "s", "fold": fold, "case_id": case, "part": part, "origin": "drawn"}
        for fold in range(folds)
        for case, part in zip(rng.permutation(cases).tolist(), parts, strict=True)
    ]
    targets = [{"target": "class", "class_index": i, "class": name} for i, name in enumerate(CLASSES)]
    store = EmbeddingStore.create(root)
    tables = CohortTables("c", targets=targets, cases=[{"case_id": c} for c in cases], labels=rows, splits=splits)
    add_cohort(store, tables)
    hidden = rng.normal(size=(len(cases), 16)) + labels[:, None]
    for modality, d, noise in (("mri_all", D_I, 2.0), ("histology", D_S, 0.5)):
        seen = hidden + noise * rng.normal(size=hidden.shape)
        codes_nd = np.maximum(seen @ rng.normal(size=(16, d)) * 0.1, 0).astype(np.float32)
        file = root.parent / f"{modality}.npz"
        np.savez(file, case_id=np.array(cases), codes=codes_nd)
        import_codes(EmbeddingStore.create(root), file, cohort="c", modality=modality, encoder="drawn")


def the_sweep(folds: int) -> SweepFile:
    g = [{"name": "autoencoder", "epochs": 150, "hidden": [a["hidden"]], "dropout": a["dropout"]} for a in AUTOENCODERS]
    d = [{"name": "mlp", **settings} for settings in DECODERS]
    given = {"guidance": g, "decoder": d, "seeds": SEEDS, "folds": tuple(range(folds)), "permutations": 0}
    return SweepFile(name="b", cohort="c", split="s", inferior="mri_all/drawn", superior="histology/drawn", **given)  # pyright: ignore


def sweep_seconds(root: Path, folds: int) -> tuple[float, float, int]:
    """(whole, of it in training summed over both workers and halved, runs)."""
    from guidestore.heads.rows import decoders, guidance

    spent, fit_g, fit_d = [0.0], guidance.fit_guidance, decoders.fit_decoders

    def timed(fit):
        def run(problems, **options):
            start = time.perf_counter()
            fitted = fit(problems, **options)
            spent[0] += time.perf_counter() - start
            return fitted

        return run

    guidance.fit_guidance, decoders.fit_decoders = timed(fit_g), timed(fit_d)
    start = time.perf_counter()
    report = sweeps.run_sweep(EmbeddingStore.open(root), the_sweep(folds))
    whole = time.perf_counter() - start
    guidance.fit_guidance, decoders.fit_decoders = fit_g, fit_d
    return whole, spent[0] / 2, report.trained


def loop_fit(x, y, widths, epochs, patience, loss_of, lr, val=None) -> float:
    """Seconds of one network in a plain loop: DataLoader, nn.Sequential, torch's SGD, the loss read at every step."""
    layers: list[torch.nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [torch.nn.Linear(widths[i], widths[i + 1]), torch.nn.ReLU(), torch.nn.Dropout(0.25)]
    network = torch.nn.Sequential(*layers[:-2])
    optimiser = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-6)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=50, shuffle=True)
    best, since, start = np.inf, 0, time.perf_counter()
    for _ in range(epochs):
        network.train()
        for x_b, y_b in loader:
            optimiser.zero_grad()
            loss = loss_of(network(x_b), y_b)
            loss.backward()
            optimiser.step()
            loss.item()
        if val is not None:
            network.eval()
            with torch.no_grad():
                seen = loss_of(network(val[0]), val[1]).item()
            best, since = (seen, 0) if seen < best else (best, since + 1)
            if since >= patience:
                break
    return time.perf_counter() - start


def loop_seconds() -> tuple[float, float]:
    """(one G, one D_c on [G(z_I), z_I])."""
    rng, n = np.random.default_rng(1), PARTS["train"]
    z_i, z_s = (torch.from_numpy(rng.random((n, d), dtype=np.float32)) for d in (D_I, D_S))
    mse, ce = torch.nn.functional.mse_loss, torch.nn.functional.cross_entropy
    loop_fit(z_i, z_s, (D_I, 512, 256, 256, D_S), 2, 0, mse, 1e-2)  # first calls
    g = loop_fit(z_i, z_s, (D_I, 512, 256, 256, D_S), 150, 0, mse, 1e-2)
    x, y = torch.cat([z_s, z_i], dim=1), torch.from_numpy(rng.integers(0, 3, n))
    val = (x[: PARTS["val"]] + 0.1, y[: PARTS["val"]])
    d = [loop_fit(x, y, (D_S + D_I, 50, 3), 500, 200, ce, 1e-3, val) for _ in range(LOOP_HEADS)]
    return g, float(np.median(d))


def main() -> None:
    folds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        make_store(root, folds)
        whole, training, runs = sweep_seconds(root, folds)
    torch.set_num_threads(1)
    g, d = loop_seconds()
    n_g = folds * len(SEEDS) * len(AUTOENCODERS)
    # Rows S+I, S, I once per decoder; G(I) reads with the decoder of S; G(I)+I for each G.
    n_d = folds * len(SEEDS) * len(DECODERS) * (3 + len(AUTOENCODERS))
    loop = n_g * g + n_d * d
    rows = [
        ["sweep", f"{n_g}", f"{n_d}", f"{whole:.0f}", f"{n_d / whole:.2f}", f"{1 - training / whole:.0%} (bar 15 %)"],
        ["loop (scaled up)", f"{n_g}", f"{n_d}", f"{loop:.0f}", f"{n_d / loop:.2f}", ""],
        ["ratio", "", "", "", f"{loop / whole:.1f} x (bar 5)", ""],
    ]
    title = f"{runs} runs: {folds} folds x {len(AUTOENCODERS)} G x {len(DECODERS)} D_c x {len(SEEDS)} seeds"
    show(title, ["", "G", "decoders", "seconds", "decoders/s", "outside training"], rows)


if __name__ == "__main__":
    main()
