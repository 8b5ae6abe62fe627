"""Can guidance be expected to help on a cohort, which row, and by which command? Asked before anything is trained."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from guidestore.embeddings.outcomes import KINDS, TargetKind
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.encoding.lookups import only_split, only_target, split_folds
from guidestore.flows.guiding.recipes import MARGINS_GUIDANCE
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.work.threads import one_thread
from guidestore.heads.advice.advise import Advice
from guidestore.heads.advice.advise import advise as foretell
from guidestore.heads.input_rows import GUIDED_PLUS_I, MARGINS, PLUG, TAUGHT, S
from guidestore.heads.plug.train import PLUG_GUIDANCE

LINEAR: Mapping[TargetKind, str] = {
    "classes": "logistic",
    "multilabel": "logistic",
    "ordinal": "proportional_odds",
    "value": "ridge",
    "survival": "ridge",
}
"""The decoder to start with."""
MODELS: Mapping[str, Mapping[str, str]] = {
    MARGINS: {"guidance": MARGINS_GUIDANCE},
    PLUG: {"guidance": PLUG_GUIDANCE},
    GUIDED_PLUS_I: {"guidance": "ridge"},
    TAUGHT: {"students": "kernel"},
}
"""What trains each row that may be advised, as `guide` and sweeps name it, beside the decoder."""


def models_of(row: str, kind: TargetKind) -> Mapping[str, str]:
    """By the name of the option or field."""
    return {**MODELS[row], **({"decoder": LINEAR[kind]} if row == GUIDED_PLUS_I else {})}


def advise(snapshot: Snapshot, settings: GuideSettings, *, labelled: int | None = None) -> list[dict[str, Any]]:
    """Per target, over all folds that are asked for: the facts that decide, `advice` in sentences, and `command`.

    labelled: a label budget. Looks at train cases alone. Raises GuidestoreError.
    """
    split = settings.split or only_split(snapshot, settings.cohort)
    folds = settings.folds or split_folds(snapshot, settings.cohort, split)
    rows = []
    with one_thread():
        for target in settings.targets or (only_target(snapshot, settings.cohort),):
            names: dict[str, Any] = {"inferior": settings.inferior, "superior": settings.superior}
            paired = [
                pair(snapshot, cohort=settings.cohort, target=target, **names, split=split, fold=fold, kinds=KINDS)
                for fold in folds
            ]
            advice = foretell(paired, labelled=labelled)
            rows.append({"target": target, "folds": len(folds), **_facts(advice)})
            rows[-1]["command"] = _command(settings, target, split, advice, labelled) if advice.row else ""
    return rows


def _facts(advice: Advice) -> dict[str, Any]:
    """In the order of columns."""
    counts = ("n_labelled", "n_pairs", "n_unlabelled_pairs", "n_archive", "n_test", "redundant")
    facts: dict[str, Any] = {name: getattr(advice, name) for name in counts}
    facts |= {"metric": advice.metric.name}
    facts |= {name: advice.areas.get(row) for name, row in (("i", "I"), ("s", S), ("s_plus_i", "S+I"))}
    for name in ("s_over_i", "s_plus_i_over_s", "gain"):
        interval = getattr(advice, name)
        facts |= {f"{name}{end}": getattr(interval, field) if interval else None for end, field in _ENDS}
    facts |= {name: getattr(advice, name) for name in ("mediates", "saturated", "doubted")}
    facts |= {name: getattr(advice, name) for name in ("row", "candidate", "nearest", "smallest_shown")}
    return facts | {"advice": " ".join(advice.sentences)}


_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))


def _command(settings: GuideSettings, target: str, split: str, advice: Advice, labelled: int | None) -> str:
    """`guide`, or a sweep where that has what guide has not: students, and label budgets."""
    models, folds = models_of(advice.row, advice.kind), settings.folds
    given = {"cohort": settings.cohort, "inferior": settings.inferior, "superior": settings.superior}
    if labelled is None and "guidance" in models:
        words = ["guidestore", "guide", settings.cohort, "--inferior", settings.inferior]
        words += ["--superior", settings.superior, "--target", target, "--split", split]
        words += [word for fold in folds for word in ("--fold", str(fold))]
        return shlex.join([*words, *(word for name, model in models.items() for word in (f"--{name}", model))])
    grid = {"name": "advised", **given, "targets": target, "split": split, "guidance": [], **models}
    grid |= {"folds": list(folds)} if folds else {}
    grid |= {"labelled": labelled} if labelled is not None else {}
    return (
        f"echo {shlex.quote(json.dumps(grid, ensure_ascii=False))} > advised.yaml && guidestore sweep run advised.yaml "
        "&& guidestore sweep show advised.yaml"
    )
