"""What the runs say in plain words, for who reads no table; and the words that the tables use."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guidestore.embeddings.words import count_of
from guidestore.flows.report.sections import Section
from guidestore.flows.results.effects import RowEffect
from guidestore.flows.results.evaluation import tabulate
from guidestore.flows.results.gates import CLOSED
from guidestore.heads.controls import CONTROLS
from guidestore.heads.input_rows import (
    ENSEMBLE,
    GD,
    GUIDED,
    GUIDED_PLUS_I,
    KD,
    MARGINS,
    PLUG,
    REFERENCE,
    S_PLUS_I,
    TAUGHT,
    I,
    S,
)
from guidestore.heads.metrics import metric_named
from guidestore.heads.significance import Interval
from guidestore.heads.significance.guidance_effect import (
    CANNOT_TELL,
    HELPS,
    HURTS,
    MARGIN,
    NO_EFFECT,
    NOT_SHOWN,
    NOTHING_BEYOND,
    UNDER_TRAINED,
)

_UPPER = {"mri", "ct", "pet", "us", "oct", "ecg", "eeg", "cfp", "flair"}
_CASED = {"t1": "T1", "t1ce": "T1ce", "t2": "T2"}

_MEANS = {
    HELPS: "That is more than luck, more than another model of {I} alone explains, and more than every control "
    "explains: guidance by {S} helps",
    "capacity, not guidance": "But guidance by the {S} of other cases gains as much: a larger model, not guidance",
    "I alone, re-expressed": "But a code made of {I} alone in place of {S} gains as much: not guidance",
    "label, not guidance": "But the label in place of {S}, or {S} of another case with the same label, gains as much: "
    "not guidance",
    "self-training, not guidance": "But a teacher that sees {I} alone teaches as much: not guidance",
    UNDER_TRAINED: "But another model of {I} alone is as good: not guidance",
    NOTHING_BEYOND: "{S} itself tells nothing here that {I} does not, so there is nothing to guide with",
    NOT_SHOWN: "But {S} itself is not shown to be better than {I}, so the gain cannot be put down to it",
    HURTS: "Guidance by {S} makes it worse",
    CANNOT_TELL: "This cannot be told from luck: these cases are too few",
    NO_EFFECT: f"Guidance changes nothing that counts (less than {MARGIN:g})",
    CLOSED: "The teacher was not allowed to teach, so there is no gain to tell",
}
"""What follows from a verdict. I, S: the modalities."""

_METRICS = {
    "auroc": "how often a case that has the class gets a higher probability of it than one that has not; of several "
    "classes their mean. 1 is perfect, .5 is chance",
    "balanced_accuracy": "the share of each class that is recognised, averaged over the classes. 1 is perfect",
    "f1_micro": "the share of cases whose class is right",
    "macro_auroc": "how often a case that has a label gets a higher probability of it than one that has not, averaged "
    "over the labels. 1 is perfect, .5 is chance",
    "macro_ap": "the mean precision over all thresholds, averaged over the labels",
    "r2": "the share of the variation of the value that is foretold; 0 for who says the mean of the train cases every "
    "time, below 0 for who does worse",
    "spearman": "how well the order of the values is foretold, from -1 to 1",
    "mae": "how far predictions are off on average, in the unit of the value",
    "rmse": "the same, large errors counting more",
    "uno_c": "how often of two cases the one with the higher predicted risk has its event first, censoring accounted "
    "for. 1 is perfect, .5 is chance",
    "harrell_c": "the same among pairs whose order is known",
    "auc_at_horizon": "how often a case whose event is past at the horizon has a higher risk than one without it",
    "quadratic_kappa": "agreement of the grades beyond chance, far errors counting more. 1 is perfect, 0 is chance",
    "mae_grades": "how many grades predictions are off on average",
}
"""By name."""


def modality_name(name: str) -> str:
    """As a reader calls it: ``mri_t1ce/densenet3d`` -> ``MRI T1ce``. name: of a modality, or of a code set."""
    parts = name.partition("/")[0].split("_")
    return " ".join(_CASED.get(part, part.upper() if part in _UPPER else part) for part in parts)


def modality_words(section: Section) -> dict[str, str]:
    """I and S -> the modalities, told apart where they are the same."""
    names = {"I": modality_name(section.inferior), "S": modality_name(section.superior)}
    if names["I"] == names["S"]:
        names = {"I": section.inferior, "S": section.superior}
    return {side: name or f"the {kind} modality" for (side, name), kind in zip(names.items(), _SIDES, strict=True)}


_SIDES = ("inferior", "superior")


def headline(effects: Sequence[RowEffect]) -> RowEffect | None:
    """Of the guided rows of a section the one to speak of first: the paper's, else the first."""
    return min(effects, key=lambda effect: effect.head.row != GUIDED_PLUS_I, default=None)


def plain_sentences(section: Section, effects: Sequence[RowEffect], p_holm: float | None) -> list[str]:
    """A section in words. effects: of its guided rows. p_holm: corrected, of the headline; None where unknown."""
    words, first = modality_words(section), headline(effects)
    if first is None:
        return [f"No guided head of {section.target} was scored, so nothing can be said of guidance."]
    rows = tabulate(section.runs, section.scores, section.metric)
    means = {row.row: row.mean.get(first.metric) for row in reversed(rows) if not row.control}
    own = next((row.mean.get(first.metric) for row in rows if row.head == first.head), None)
    if first.effect is None or own is None:
        told = _MEANS[CLOSED].format(**words) if first.told == CLOSED else f"Nothing can be said: {first.note}"
        return [f"{section.target}: {told}."]
    metric, gain = metric_named(first.metric), first.effect.gain_over_i.gain
    sentences = [
        f"On {count_of(first.n_cases, 'test case')}, {words['I']} alone reached {metric.title} {_three(means.get(I))}; "
        f"with guidance by {words['S']} it reached {_three(own)}: {_spread_in_words(gain)}."
    ]
    ceiling = [f"{words['S']} itself {_three(means[S])}" if means.get(S) is not None else ""]
    ceiling.append(f"both together {_three(means[S_PLUS_I])}" if means.get(S_PLUS_I) is not None else "")
    if any(ceiling):
        sentences.append(f"For comparison: {', '.join(filter(None, ceiling))}.")
    sentences.append(f"{meaning(first.verdict, section)}.")
    if first.verdict == HELPS and p_holm is not None and p_holm > 0.05:
        sentences.append(
            f"Among all that was asked on this page it may still be chance (p {p_holm:.2g}, corrected for all of it)."
        )
    others = [f"{of.head.row}: {of.verdict}" for of in effects if of is not first and of.verdict != first.verdict]
    if others:
        sentences.append(f"Of other guided heads: {'; '.join(others)}.")
    return sentences


def _spread_in_words(gain: Interval) -> str:
    if gain.low == gain.high:  # both order all cases alike, so that no draw of them shows a difference
        return f"{gain.value:+.3f}, the same in every draw of these cases, which is no sign of what others would show"
    return f"{gain.value:+.3f}, and anything from {gain.low:+.3f} to {gain.high:+.3f} fits these cases"


def meaning(verdict: str, section: Section) -> str:
    """What a verdict says, in words."""
    said = _MEANS.get(verdict, f"It cannot be told whether that is guidance: {verdict}")
    text = said.format(**modality_words(section))
    return text[:1].upper() + text[1:]


def _three(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def terms_of(sections: Sequence[Section], metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The words of the tables of these sections, each with what it means here. metrics: names of those they use."""
    pairs = {(words["I"], words["S"]) for words in map(modality_words, sections)}
    words = dict(zip("IS", next(iter(pairs)), strict=True)) if len(pairs) == 1 else _GENERAL
    there = {run.row for section in sections for run in section.runs}
    controls = dict.fromkeys(run.control for section in sections for run in section.runs if run.control)
    told = [
        (row, text.format(**words))
        for row, text in _ROWS.items()
        if row in there or (row == "G" and there & {GUIDED, GUIDED_PLUS_I, PLUG, ENSEMBLE})
    ]
    if controls:
        names = ", ".join(CONTROLS[name].title.removeprefix("{row}, ") for name in controls if name in CONTROLS)
        told.append(("controls", f"the same heads, made so that they can know nothing of {words['S']}: {names}"))
    titles = dict.fromkeys(metrics)
    return told + [(metric_named(name).title, _METRICS[name]) for name in titles if name in _METRICS]


_GENERAL = {"I": "the inferior (cheap) modality", "S": "the superior (invasive) modality"}
_ROWS = {
    I: "predicts from {I} alone",
    S: "predicts from {S} alone, which a new case would need",
    S_PLUS_I: "predicts from both: what guidance could reach at best",
    "G": "the guidance model: foretells the code of {S} (z_S) from that of {I} (z_I)",
    GUIDED: "predicts from what G foretells; a new case needs {I} alone",
    GUIDED_PLUS_I: "guidance: predicts from {I} and what G foretells; a new case needs {I} alone",
    REFERENCE: "other models of {I} alone, which guidance must exceed too",
    KD: "learns from {I} to imitate a teacher that sees {S}",
    GD: "the same with softened targets (generalized distillation)",
    ENSEMBLE: "the mean of I and G(I)",
    TAUGHT: "learns from {I} with labels that a teacher on {S} gave",
    MARGINS: "learns from {I} to give the scores of a teacher on {S}, averaged with I",
    PLUG: "the head of S+I, which reads what G foretells in place of {S}",
}
"""In the order in which one understands them."""
