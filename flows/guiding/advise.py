"""Can guidance be expected to help on a training set, and which kind? Asked before anything is trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from guidestore.embeddings.pairing import pair
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.encoding.lookups import only_split, only_target, split_folds
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.work.threads import one_thread


def advise(snapshot: Snapshot, settings: GuideSettings) -> list[dict[str, Any]]:
    """Per target, on the first of the folds: the facts that decide, and `advice`, two sentences.

    Looks at train cases alone. Raises GuidestoreError.
    """
    from guidestore.heads.transfer.advise import advise as look

    split = settings.split or only_split(snapshot, settings.cohort)
    fold = (settings.folds or split_folds(snapshot, settings.cohort, split))[0]
    rows = []
    with one_thread():
        for target in settings.targets or (only_target(snapshot, settings.cohort),):
            names = {"inferior": settings.inferior, "superior": settings.superior}
            advice = look(pair(snapshot, cohort=settings.cohort, target=target, **names, split=split, fold=fold))
            rows.append({"target": target, "fold": fold, **asdict(advice), "advice": " ".join(advice.sentences)})
    return rows
