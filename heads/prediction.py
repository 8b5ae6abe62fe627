"""What a trained head says of codes, from its components alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes
from guidestore.heads.input_rows import INPUT_ROWS, TAUGHT, Code, InputRow, input_row
from guidestore.heads.outcomes import said
from guidestore.heads.registry import load_any_decoder, load_guidance
from guidestore.heads.trained import Component


def predict_row(
    name: str,
    components: Mapping[str, Component],
    z_inferior_nd: np.ndarray,
    z_superior_nd: np.ndarray | None = None,
    *,
    horizon: float = math.nan,
) -> np.ndarray:
    """(n, d_I) z_I, and for rows that need it (n, d_S) z_S -> (n, k) float64: what a trained head says.

    Of classes and grades the probabilities; of other kinds as heads.metrics.metric has it. horizon: of survival, up to
    which it is said who lives (`Run.reference`); without one, the risk alone.

    Raises InvalidInputError for an unknown row, one whose z_S is missing, or one that lacks a component.
    """
    row = input_row(name)
    if row.needs_superior and z_superior_nd is None:
        able = ", ".join(other.name for other in INPUT_ROWS.values() if not other.needs_superior)
        raise InvalidInputError(f"row {name} needs the superior image, so it cannot predict from z_I alone; use {able}")
    reads = codes_read(row, components)
    needed = ["guidance"] * ("G(z_I)" in reads) + ["decoder"] + ["superior_decoder"] * row.averaged
    for part in needed:
        if part not in components:
            raise InvalidInputError(f"row {name} lacks its {part}; pass all components of the trained head")
    codes: dict[Code, np.ndarray] = {}
    if "z_I" in reads or "G(z_I)" in reads:
        codes["z_I"] = check_codes(z_inferior_nd, f"row {name}: z_I")
    if "z_S" in reads and z_superior_nd is not None:
        codes["z_S"] = check_codes(z_superior_nd, f"row {name}: z_S")
    if "G(z_I)" in reads:
        codes["G(z_I)"] = load_guidance(*components["guidance"]).predict(codes["z_I"])
    decoder = load_any_decoder(*components["decoder"])
    if row.averaged:
        superior = load_any_decoder(*components["superior_decoder"])
        return (said(decoder, codes["z_I"], horizon) + said(superior, codes["G(z_I)"], horizon)) / 2
    read = [codes[code] for code in reads]
    return said(decoder, read[0] if len(read) == 1 else np.hstack(read), horizon)


def codes_read(row: InputRow, components: Mapping[str, Component]) -> tuple[Code, ...]:
    """What the decoder of a trained head reads: that of T(I) may be a D_c."""
    if row.name == TAUGHT and "guidance" in components:
        return ("G(z_I)", "z_I")
    return row.reads
