"""Who is champion: on made runs, where it is known which head is better, and on val alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.errors import CommitConflictError, InvalidInputError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.results import champion
from guidestore.flows.results.champion import Decision, champion_of, contest, decide

CASES = 60
CLASSES = ("ABS", "PRS")


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


def train(
    store: EmbeddingStore,
    guidance: str,
    right: float,
    *,
    row: str = "G(I)+I",
    control: str = "",
    on_test: float = 0.5,
    seeds: tuple[int, ...] = (0,),
    folds: tuple[int, ...] = (0,),
    target: str = "BWV",
) -> list[str]:
    """Runs that are right in this share of the val cases, and of the test cases in another; their ids."""
    runs, metrics, predictions = [], [], []
    for fold in folds:
        for seed in seeds:
            run = sha256_of([guidance, right, row, control, seed, fold, target])
            runs.append(
                Run(
                    run,
                    "skin",
                    target,
                    "cv",
                    fold,
                    row,
                    inferior=CodeSetName("skin", "clinical", "made"),
                    superior=CodeSetName("skin", "dermoscopy", "made"),
                    guidance=guidance if "G" in row else "",
                    decoder="logistic",
                    control=control,
                    permutation=0 if control else -1,
                    seed=seed,
                    classes=CLASSES,
                    snapshot=1,
                )
            )
            for part, share in (("val", right), ("test", on_test)):
                rng = np.random.default_rng(seed + 1)
                labels = np.arange(CASES) % 2
                wrong = rng.permutation(CASES)[: round(CASES * (1 - share))]
                says = labels.copy()
                says[wrong] = 1 - says[wrong]
                value = float((says == labels).mean())
                metrics.append({"run": run, "part": part, "metric": "balanced_accuracy", "value": value})
                predictions += [
                    {
                        "run": run,
                        "cohort": "skin",
                        "case_id": f"{part}-{fold}-{case:02d}",
                        "part": part,
                        "label": CLASSES[labels[case]],
                        "predicted": CLASSES[says[case]],
                        "probabilities": [0.1, 0.9] if says[case] else [0.9, 0.1],
                    }
                    for case in range(CASES)
                ]
    ids = [run.id for run in runs]
    with store.begin("made runs") as transaction:
        transaction.write_runs(runs, metrics, predictions, inputs={run: [] for run in ids})
    return ids


def test_the_first_head_becomes_champion_by_its_best_val_seed(store: EmbeddingStore) -> None:
    worse = train(store, "ridge", 0.6, seeds=(0,), folds=(0, 1))
    better = train(store, "ridge", 0.7, seeds=(1,), folds=(0, 1))
    found = contest(store, "champion", [*worse, *better])
    assert found.moved
    assert found.run == better[0], "fold 0, and of its seeds the one that is best on val"
    assert "there was none before" in found.sentence
    assert store.find_run("champion").artifact == better[0]
    named = champion_of(store, "champion")
    assert named is not None
    assert set(named.runs) == {*worse, *better}


def test_the_first_head_does_not_where_guidance_hurts(store: EmbeddingStore) -> None:
    runs = train(store, "ridge", 0.55) + train(store, "ridge", 0.55, control="shuffled")
    runs += train(store, "", 0.95, row="I")
    found = contest(store, "champion", runs)
    assert not found.moved
    assert "hurts" in found.sentence
    assert champion_of(store, "champion") is None


def test_a_better_head_takes_over_and_an_equal_one_does_not(store: EmbeddingStore) -> None:
    first = contest(store, "champion", train(store, "ridge", 0.6))
    equal = contest(store, "champion", train(store, "cca", 0.63))
    assert not equal.moved
    assert "cannot be told from it" in equal.sentence
    assert equal.gain is not None
    assert f"{equal.gain.value:+.3f}" in equal.sentence
    assert "60 val cases" in equal.sentence
    assert store.find_run("champion").artifact == first.run
    better = contest(store, "champion", train(store, "pls", 0.95))
    assert better.moved
    assert better.gain is not None
    assert better.gain.above_zero
    assert store.find_run("champion").artifact == better.run
    assert better.as_rows()[0]["metric"] == "auroc"
    worse = contest(store, "champion", train(store, "linear", 0.5))
    assert not worse.moved
    assert "is worse" in worse.sentence


def test_test_decides_nothing(store: EmbeddingStore) -> None:
    contest(store, "champion", train(store, "ridge", 0.6, on_test=0.1))
    assert not contest(store, "champion", train(store, "cca", 0.61, on_test=1.0)).moved
    assert contest(store, "champion", train(store, "pls", 0.95, on_test=0.0)).moved


def test_only_like_is_compared_with_like(store: EmbeddingStore) -> None:
    contest(store, "champion", train(store, "ridge", 0.6))
    found = contest(store, "champion", train(store, "ridge", 0.95, target="PIG"))
    assert not found.moved
    assert "target BWV" in found.sentence
    assert "an alias of its own" in found.sentence
    apart = contest(store, "champion", train(store, "pls", 0.95, folds=(1,)))
    assert not apart.moved
    assert "no fold in common" in apart.sentence


def test_the_same_runs_again_change_nothing(store: EmbeddingStore) -> None:
    runs = train(store, "ridge", 0.6, seeds=(0, 1))
    contest(store, "champion", runs)
    before = store.snapshot().version
    assert "the same runs" in contest(store, "champion", runs[:1]).sentence
    assert store.snapshot().version == before


def test_heads_of_other_seeds_can_be_compared(store: EmbeddingStore) -> None:
    contest(store, "champion", train(store, "ridge", 0.6, seeds=(0, 1, 2)))
    assert decide(store, "champion", train(store, "pls", 0.95, seeds=(7,))).moved


def test_any_row_that_needs_z_i_alone_can_be_champion(store: EmbeddingStore) -> None:
    """The guided row contests unless another is named; a guided one of several kinds must be named."""
    margins, plain = train(store, "margins", 0.9, row="M(I)"), train(store, "", 0.6, row="I")
    assert contest(store, "champion", [*margins, *plain]).run == margins[0]
    assert not contest(store, "champion", [*margins, *plain], row="I").moved
    assert contest(store, "plain", [*margins, *plain], row="I").run == plain[0]
    assert contest(store, "alone", plain).run == plain[0]
    with pytest.raises(InvalidInputError, match="row S needs the superior image"):
        contest(store, "champion", train(store, "", 0.9, row="S"), row="S")
    taught = train(store, "label_transfer", 0.8, row="T(I)")
    with pytest.raises(InvalidInputError, match=r"hold the rows T\(I\) and M\(I\); say which contests the alias"):
        contest(store, "champion", [*margins, *taught])


def test_what_cannot_contest_is_said(store: EmbeddingStore) -> None:
    with pytest.raises(InvalidInputError, match="nothing to promote"):
        decide(store, "champion", train(store, "", 0.6, row="S"))
    with pytest.raises(InvalidInputError, match="one at a time"):
        decide(store, "champion", train(store, "ridge", 0.6) + train(store, "pls", 0.6))
    store.move_alias("nightly")
    with pytest.raises(InvalidInputError, match="names snapshot"):
        decide(store, "nightly", train(store, "cca", 0.6))


def test_of_heads_that_contest_at_once_the_best_stays(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have decided to move the alias before either has: the later one must look again."""
    contest(store, "champion", train(store, "ridge", 0.5))
    good, best = train(store, "cca", 0.7), train(store, "pls", 1.0)
    root = store.storage.root  # pyright: ignore[reportAttributeAccessIssue]
    together = threading.Barrier(2)
    tries: dict[str, int] = {}

    def decided(store: EmbeddingStore, alias: str, runs: Sequence[str], row: str) -> Decision:
        decision = decide(store, alias, runs, row)
        tries[runs[0]] = tries.get(runs[0], 0) + 1
        if tries[runs[0]] == 1:
            assert decision.moved
            together.wait(60)
        return decision

    monkeypatch.setattr(champion, "decide", decided)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(contest, EmbeddingStore.open(root), "champion", runs) for runs in (good, best)]
        decisions = [one.result() for one in asked]
    assert sorted(tries.values()) == [1, 2]
    assert store.snapshot().aliases["champion"][1] == best[0]
    assert decisions[1].moved
    if tries[good[0]] == 2:
        assert not decisions[0].moved, "it saw the better one"


def test_who_loses_every_race_is_told(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    others = contest(store, "champion", train(store, "ridge", 0.5)).run
    other = EmbeddingStore.open(store.storage.root)  # pyright: ignore[reportAttributeAccessIssue]

    def overtaken(store: EmbeddingStore, alias: str, runs: Sequence[str], row: str) -> Decision:
        decision = decide(store, alias, runs, row)
        other.move_alias("champion", artifact=others)
        return decision

    monkeypatch.setattr(champion, "decide", overtaken)
    with pytest.raises(CommitConflictError, match="alias champion was moved by another process"):
        contest(store, "champion", train(store, "pls", 1.0))
    assert store.snapshot().aliases["champion"][1] == others
