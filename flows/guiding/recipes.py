"""What heads a training set is asked for: rows and controls, models, seed. All that decides a head is in its run id."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.choice import Choice
from guidestore.heads.controls import DECIDING
from guidestore.heads.fitting import needs_decoder
from guidestore.heads.input_rows import ALL_ROWS, INPUT_ROWS, PLUG, REFERENCE, TAUGHT, Arm, Mode, arms_of
from guidestore.heads.margins.train import DECODER, MARGIN_ROWS, MARGINS_GUIDANCE
from guidestore.heads.plug.blocks import Family
from guidestore.heads.plug.train import PLUG_ROWS, PLUGS, decoder_name
from guidestore.heads.references.train import references_of
from guidestore.heads.registry import CONCATENATION, GUIDANCE, build_guidance, guidance_names
from guidestore.heads.transfer.train import TRANSFER_ROWS

SIDE_BY_SIDE = Choice.of(CONCATENATION)
ANY_G = Choice.of("ridge")


@dataclass(frozen=True, slots=True)
class RowsRecipe:
    """The paper's five input rows and their controls."""

    mode: Mode
    seed: int
    guidance: Choice
    decoder: Choice
    permutations: int
    """Draws of each random control of each row that has them."""
    controls: tuple[str, ...] = DECIDING
    fusion: Choice = SIDE_BY_SIDE
    """How S+I and G(I)+I combine their two codes."""
    cross_fit: int = 0
    """Folds of G for the train rows of G(I)+I; 0: none."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The heads, in the order of tables, controls last."""
        through = needs_decoder(build_guidance(self.guidance.name, **self.guidance.params))
        return arms_of(ALL_ROWS, self.permutations, self.controls, mode=self.mode, through_labels=through)

    def of(self, arm: Arm) -> dict[str, Any]:
        """What decides the head of an arm, as JSON: models that it does not use are left out."""
        row = INPUT_ROWS[arm.row]
        recipe = _of_models(self, arm)
        if self.cross_fit and row.cross_fits:
            recipe["cross_fit"] = self.cross_fit
        if self.fusion != SIDE_BY_SIDE and row.fuses:
            recipe["fusion"] = _named(self.fusion)
        return recipe


@dataclass(frozen=True, slots=True)
class BaselinesRecipe:
    """Rows of heads.baselines and their controls."""

    rows: tuple[str, ...]
    mode: Mode
    seed: int
    decoder: Choice
    permutations: int
    guidance: Choice = ANY_G
    """Of the rows that have a G; the others do without."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """As of `RowsRecipe`."""
        return arms_of(self.rows, self.permutations, mode=self.mode)

    def of(self, arm: Arm) -> dict[str, Any]:
        """As of `RowsRecipe`."""
        return _of_models(self, arm)


@dataclass(frozen=True, slots=True)
class TransferRecipe:
    """Label transfer: its references, row T(I) and its controls, which are trained together."""

    seed: int
    student: Choice
    noisy_labels: bool
    """Labels may be wrong."""
    permutations: int
    guidance: Choice | None = None
    """Where given, the student reads [G(z_I), z_I]: the paper's D_c with the teacher's scores as an extra term."""

    @property
    def mode(self) -> Mode:
        """Every row has a decoder of one family."""
        return "matched"

    @property
    def arms(self) -> tuple[Arm, ...]:
        """As of `RowsRecipe`."""
        return arms_of(TRANSFER_ROWS, self.permutations)

    def of(self, arm: Arm) -> dict[str, Any]:
        """As of `RowsRecipe`."""
        recipe = {"seed": self.seed, "student": _named(self.student), "noisy_labels": self.noisy_labels}
        if self.guidance and arm.row == TAUGHT:
            recipe["guidance"] = _named(self.guidance)
        return recipe


@dataclass(frozen=True, slots=True)
class ReferenceRecipe:
    """One of the references for row I; the same for every guidance model."""

    seed: int
    decoder: str
    """A name of heads.references.train.REFERENCES."""

    @property
    def mode(self) -> Mode:
        """Its decoder is trained anew."""
        return "matched"

    @property
    def arms(self) -> tuple[Arm, ...]:
        """As of `RowsRecipe`."""
        return (Arm(REFERENCE),)

    def of(self, arm: Arm) -> dict[str, Any]:
        """As of `RowsRecipe`."""
        return {"seed": self.seed, "decoder": self.decoder}


def references(seed: int, kind: TargetKind = "classes") -> list[ReferenceRecipe]:
    """All that a kind of target has."""
    return [ReferenceRecipe(seed, name) for name in references_of(kind)]


@dataclass(frozen=True, slots=True)
class MarginsRecipe:
    """Margins: its references, row M(I) and its controls, which are trained together."""

    seed: int
    permutations: int

    @property
    def mode(self) -> Mode:
        """Every row is a smoother."""
        return "matched"

    @property
    def arms(self) -> tuple[Arm, ...]:
        """As of `RowsRecipe`."""
        return arms_of(MARGIN_ROWS, self.permutations)

    def of(self, arm: Arm) -> dict[str, Any]:
        """As of `RowsRecipe`."""
        return {"seed": self.seed, "decoder": DECODER}


@dataclass(frozen=True, slots=True)
class PlugRecipe:
    """Plug: its references, row P(I) and its controls, which are trained together."""

    seed: int
    permutations: int
    family: Family = "ridge"
    """Of the decoder that is plugged into."""

    @property
    def mode(self) -> Mode:
        """Every row has a decoder of its own."""
        return "matched"

    @property
    def arms(self) -> tuple[Arm, ...]:
        """As of `RowsRecipe`."""
        return arms_of(PLUG_ROWS, self.permutations)

    def of(self, arm: Arm) -> dict[str, Any]:
        """As of `RowsRecipe`; S+I, S and I are those of margins."""
        return {"seed": self.seed, "decoder": decoder_name(self.family) if arm.row == PLUG else DECODER}


type HeadRecipe = RowsRecipe | BaselinesRecipe | TransferRecipe | ReferenceRecipe | MarginsRecipe | PlugRecipe

SCHEMES: Mapping[str, Callable[[int, int], MarginsRecipe | PlugRecipe]] = {
    MARGINS_GUIDANCE: MarginsRecipe,
    **{name: partial(PlugRecipe, family=family) for name, family in PLUGS.items()},
}
"""Guidance that is no G but a recipe of its own, by the name that stands where that of a G does: of seed and
permutations."""


def check_guidance(guidance: Choice) -> None:
    """Raises InvalidInputError where there is no such G or scheme, or it has no such parameter."""
    if guidance.name in SCHEMES:
        if guidance.params:
            named = ", ".join(guidance.params)
            raise InvalidInputError(f"guidance {guidance.name} has no parameter {named}; leave it out")
    elif guidance.name not in guidance_names() and not GUIDANCE.is_own(guidance.name):
        raise unknown_name("guidance", guidance.name, every_guidance())
    else:
        build_guidance(guidance.name, **guidance.params)


def every_guidance() -> tuple[str, ...]:
    """Names that may stand where guidance is asked for."""
    return (*guidance_names(), *SCHEMES)


def _of_models(recipe: RowsRecipe | BaselinesRecipe, arm: Arm) -> dict[str, Any]:
    guidance = _named(recipe.guidance) if INPUT_ROWS[arm.row].has_g else ""
    return {"mode": recipe.mode, "seed": recipe.seed, "decoder": _named(recipe.decoder), "guidance": guidance}


def _named(choice: Choice) -> Any:
    """A bare name where nothing differs from the defaults; of code of others also which code it is."""
    if not (choice.params or choice.code):
        return choice.name
    named: dict[str, Any] = {"name": choice.name, "params": json.loads(choice.key)}
    return named | ({"code": choice.code} if choice.code else {})
