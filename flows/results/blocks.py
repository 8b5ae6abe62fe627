"""Stored runs cut into what one table can hold: a block is of one target, split, mode, pair of code sets, label budget,
G and D_c.

`evaluate` prints the blocks, the report has a section for each, so both show the same figures. Nothing is a mean across
blocks; what a block lists twice, as row I of another block beside another G, is the same runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from guidestore.embeddings.runs import Head, LabelBudget, Run, RunPredictions
from guidestore.flows.results.effects import RowEffect, decoder_of_one_code, is_guided, row_effects
from guidestore.heads.input_rows import INPUT_ROWS, REFERENCE, S_PLUS_I

FUSION = ", fusion="
"""Between the name of a decoder and that of the fusion of its two codes."""
CROSS_FIT = ", cross_fit="
"""Between the name of G and the folds of its cross-fit."""


class Scope(NamedTuple):
    """What the runs of a block share, beside its G and D_c."""

    cohort: str
    target: str
    mode: str
    split: str
    inferior: str
    """MODALITY/ENCODER."""
    superior: str
    labelled: LabelBudget
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One table: its runs, and what they have in common."""

    number: int
    """From 1, as tables and the report count them."""
    scope: Scope
    guidance: str
    """'' where no row of it has a G."""
    decoder: str
    """With the fusion, where it is not concatenation."""
    runs: tuple[Run, ...] = field(repr=False)

    @property
    def budget(self) -> str:
        """``50 labels``; '' where a run sees all there are."""
        return "" if self.scope.labelled == "all" else f"{self.scope.labelled} labels"

    @property
    def title(self) -> str:
        """All that it is of, in a line."""
        scope = self.scope
        pair = f"{scope.inferior} guided by {scope.superior}" if scope.superior else scope.inferior
        models = [f"G {self.guidance}" if self.guidance else "", f"D_c {self.decoder}"]
        parts = (scope.target, pair, *models, f"split {scope.split}", self.budget, scope.mode)
        return "; ".join(filter(None, parts))

    def keys(self) -> dict[str, Any]:
        """Its columns in CSV, JSON and Parquet."""
        scope = self.scope
        decoder, _, fusion = self.decoder.partition(FUSION)
        return {
            "target": scope.target,
            "mode": scope.mode,
            "split": scope.split,
            "inferior": scope.inferior,
            "superior": scope.superior,
            "labelled": str(scope.labelled),
            "guidance": self.guidance,
            "decoder": decoder,
            "fusion": fusion,
        }


def blocks_of(runs: Iterable[Run]) -> list[Block]:
    """The blocks of these runs, in the order in which their targets were first trained.

    Every guided head is in one of them at least: those without a G of their own stand beside every G.
    """
    scopes: dict[Scope, list[Run]] = {}
    for run in runs:
        scopes.setdefault(_scope(run), []).append(run)
    scopes = _with_references(scopes)
    targets = list(dict.fromkeys(scope.target for scope in scopes))
    blocks: list[Block] = []
    # As published comes first; `sorted` keeps the rest in the order of training.
    for scope in sorted(scopes, key=lambda scope: (targets.index(scope.target), scope.mode != "as-published")):
        for guidance, decoder in _models(scopes[scope]):
            chosen = tuple(_of_models(scopes[scope], guidance, decoder))
            blocks.append(Block(len(blocks) + 1, scope, guidance, decoder, chosen))
    return blocks


def block_effects(
    blocks: Sequence[Block], predictions: Mapping[str, RunPredictions], **asked: Any
) -> dict[int, list[RowEffect]]:
    """Number of a block -> the effects of its guided heads. asked: as `row_effects` takes it."""
    scopes: dict[Scope, dict[str, Run]] = {}
    for block in blocks:
        scopes.setdefault(block.scope, {}).update((run.id, run) for run in block.runs)
    of_scope = {scope: row_effects(runs.values(), predictions, **asked) for scope, runs in scopes.items()}
    of_block = {}
    for block in blocks:
        heads = {run.head for run in block.runs}
        of_block[block.number] = [effect for effect in of_scope[block.scope] if effect.head in heads]
    return of_block


def _scope(run: Run) -> Scope:
    inferior, superior = (name.stem.within if name else "" for name in (run.inferior, run.superior))
    return Scope(run.cohort, run.target, run.mode, run.split, inferior, superior, run.labelled, run.classes)


def _with_references(scopes: Mapping[Scope, list[Run]]) -> dict[Scope, list[Run]]:
    """References for row I stand in every mode; alone they are a scope only where there is nothing else."""
    of_any_mode: dict[Scope, list[Run]] = {}
    for scope, runs in scopes.items():
        references = [run for run in runs if run.row == REFERENCE]
        of_any_mode.setdefault(scope._replace(mode=""), []).extend(references)
    kept = {}
    for scope, runs in scopes.items():
        own = [run for run in runs if run.row != REFERENCE]
        if own:
            kept[scope] = own + of_any_mode[scope._replace(mode="")]
    return kept or dict(scopes)


def _models(members: Sequence[Run]) -> list[tuple[str, str]]:
    """(G, D_c) of the blocks of a scope."""
    guided = list(dict.fromkeys(run.head for run in members if is_guided(run.head)))
    # A D_c that was trained on G(z_I) names the block; what uses the decoder of another row joins it.
    guided.sort(key=lambda head: not INPUT_ROWS[head.row].has_g or bool(INPUT_ROWS[head.row].decoders_of))
    models: list[tuple[str, str]] = []
    for head in guided:
        if not any(_joins(head, *known) for known in models):
            models.append((head.guidance, head.decoder))
    if models:
        return models
    # Rows without guidance alone: that of two codes has a decoder of its own in every mode.
    fused = [run for run in members if run.row == S_PLUS_I] or members
    return list(dict.fromkeys(("", run.decoder) for run in fused))


def _joins(head: Head, guidance: str, decoder: str) -> bool:
    """Whether a guided head belongs to the block of a G and a D_c."""
    if head.guidance not in ("", guidance, guidance.partition(CROSS_FIT)[0]):
        return False
    # As published G(I) reads with the stored classifier of S, whatever D_c is.
    given = head.mode == "as-published" and bool(INPUT_ROWS[head.row].decoders_of)
    return given or head.decoder in (decoder, decoder_of_one_code(decoder))


def _of_models(members: Sequence[Run], guidance: str, decoder: str) -> list[Run]:
    """The runs of a block; of a row without guidance those of its decoder, or where there is none all there are."""
    names = (decoder, decoder_of_one_code(decoder))
    there = {(run.row, name) for run in members for name in names if run.decoder == name}
    chosen = []
    for run in members:
        row = INPUT_ROWS.get(run.row)
        if run.row == REFERENCE:
            fits = True
        elif row is not None and row.controls:
            fits = _joins(run.head, guidance, decoder)
        else:
            best = next((name for name in names if (run.row, name) in there), run.decoder)
            fits = run.decoder == best
        if fits:
            chosen.append(run)
    return chosen
