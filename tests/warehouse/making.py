"""A small store with something of every kind, so that every view has rows. Values follow from the seed."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import NEVER_TRAINED, Bag, CaseCodes, CodeSetKey, EncoderSpec

COHORT = "phantom"
CASES = tuple(f"case_{number:02d}" for number in range(12))
MRI = CodeSetKey.of(COHORT, "mri_all", EncoderSpec("densenet3d", "1", "volumes", 8))
SLIDES = CodeSetKey.of(COHORT, "histology", EncoderSpec("pooled", "1", "bags", 6))
TILES = CodeSetKey.of(COHORT, "histology", EncoderSpec("patches", "1", "tiles", 4))


def codes_of(key: CodeSetKey, seed: int, cases: tuple[str, ...] = CASES) -> CaseCodes:
    codes_nd = np.random.default_rng(seed).standard_normal((len(cases), key.code_dim), dtype=np.float32)
    return CaseCodes(cases, codes_nd, key=key)


def image_digest(case_id: str) -> str:
    return f"digest of {case_id}"


def commit_codes(store: EmbeddingStore, codes: CaseCodes) -> int:
    """Commits codes whose inputs are the images of their cases; returns the commit."""
    with store.begin("codes") as transaction:
        transaction.write_codes(codes, input_digests=[[image_digest(case)] for case in codes.case_ids])
    assert transaction.snapshot is not None
    return transaction.snapshot.version


def commit_cohort(store: EmbeddingStore) -> None:
    """Commit 1: cases, labels (half G, half A), one split, images."""
    with store.begin("the cohort") as transaction:
        for kind, rows in {
            "cohorts": [{"layout": "manifest", "source": "here", "pseudonymized": False, "note": ""}],
            "targets": [{"target": "grade", "class_index": i, "class": c} for i, c in enumerate("GA")],
            "cases": [{"case_id": case} for case in CASES],
            "labels": [{"case_id": case, "target": "grade", "class": "GA"[i % 2]} for i, case in enumerate(CASES)],
            "splits": [
                {"split": "s", "fold": 0, "case_id": case, "part": "train" if i < 8 else "test", "origin": "given"}
                for i, case in enumerate(CASES)
            ],
            "images": [
                {
                    "case_id": case,
                    "image_id": case,
                    "modality": "mri_all",
                    "path": f"/images/{case}.nii.gz",
                    "size": 10,
                    "sha256": image_digest(case),
                }
                for case in CASES
            ],
        }.items():
            transaction.write_rows(kind, [{"cohort": COHORT, **row} for row in rows], cohort=COHORT)


def make_run(run: str, *, row: str = "G(I)+I", guidance: str = "ridge", seed: int = 0) -> Run:
    return Run(
        run,
        COHORT,
        "grade",
        "s",
        0,
        row,
        inferior=MRI.name,
        superior=SLIDES.name,
        trained_on=(NEVER_TRAINED,),
        guidance=guidance,
        decoder="logistic",
        seed=seed,
    )


def scores(run: str, **parts: float) -> list[dict[str, object]]:
    """The same value in two metrics."""
    return [
        {"run": run, "part": part, "metric": metric, "value": value}
        for part, value in parts.items()
        for metric in ("balanced_accuracy", "f1_micro")
    ]


def commit_rest(store: EmbeddingStore) -> None:
    """Commits 2 to 7: codes of two widths, a bag and its encoder, weights, runs, an alias; and a tag."""
    commit_codes(store, codes_of(MRI, 0))
    commit_codes(store, codes_of(SLIDES, 1))
    rng = np.random.default_rng(2)
    with store.begin("a bag and what made it") as transaction:
        bag = Bag(
            rng.standard_normal((7, 4)).astype(np.float16), rng.integers(0, 99, (7, 2), dtype=np.int32), 0.5, 256, 256
        )
        transaction.write_bag(TILES, CASES[0], CASES[0], bag, input_digests=[image_digest(CASES[0])])
        transaction.write_rows(
            "encoders", [{"encoder": "patches", "encoder_digest": TILES.encoder_digest, "code_dim": 4}]
        )
        quarantined = {"cohort": COHORT, "case_id": CASES[1], "image_id": CASES[1], "reason": "no tissue"}
        transaction.write_rows("quarantine", [quarantined], cohort=COHORT)
        looked = {"case_id": CASES[0], "image_id": CASES[0], "branch": 0, "attention": [0.25, 0.75]}
        transaction.write_rows("attention", [{"cohort": COHORT, **looked}], cohort=COHORT)
        transaction.write_rows("looks", [{"cohort": COHORT, "run": "r", "part": "test"}], cohort=COHORT)
        transaction.write_rows("sweeps", [{"cohort": COHORT, "name": "grid", "runs": ["r"]}], cohort=COHORT)
        places = {
            "modality": "mri_all",
            "encoder": "densenet3d",
            "encoder_digest": MRI.encoder_digest,
            "method": "umap",
        }
        transaction.write_rows("maps", [{"cohort": COHORT, "case_id": CASES[0], "x": 1.0, **places}], cohort=COHORT)
    with store.begin("weights") as transaction:
        transaction.write_weights(
            "guidance",
            "ridge",
            config={},
            tensors={"w": np.eye(2, dtype=np.float32)},
            recipe={"seed": 0},
            cohort=COHORT,
            split="s",
            fold=0,
        )
    runs = [make_run("run_a"), make_run("run_b", row="I", guidance="", seed=1), make_run("run_c", seed=2)]
    with store.begin("runs") as transaction:
        transaction.write_runs(
            runs,
            [
                *scores("run_a", val=0.6, test=0.8),
                *scores("run_b", val=0.7, test=0.5),
                *scores("run_c", val=0.5, test=0.7),
            ],
            [
                {
                    "run": "run_a",
                    "cohort": COHORT,
                    "case_id": CASES[-1],
                    "part": "test",
                    "label": "A",
                    "predicted": "A",
                    "probabilities": [0.25, 0.75],
                }
            ],
            inputs={run.id: () for run in runs},
        )
    store.tag("baseline", 2)
    store.move_alias("champion", artifact="run_a")
