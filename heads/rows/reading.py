"""What the decoder of a row reads, one array for all that read the same."""

from __future__ import annotations

import numpy as np

from guidestore.heads.cross_fitting import left_out_with
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import INPUT_ROWS
from guidestore.heads.protocol import GuidanceModel
from guidestore.heads.rows.guidance import Guided, Model
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.shared_codes import SharedCodes


def read(
    job: RowsJob, row: str, rows_n: np.ndarray, guided: Guided | None, codes: SharedCodes, *, out_of_fold: bool = False
) -> np.ndarray:
    """(n, d) of the cases at (n,) row numbers. guided: the G of rows that have one.

    out_of_fold: each row's G(z_I) comes from the G that did not see it, where there are such. Raises DivergedError.
    """
    parts = []
    for code in INPUT_ROWS[row].reads:
        if code == "z_S":
            parts.append(codes.rows_of(job.paired.superior_nd, rows_n))
        elif code == "z_I":
            parts.append(codes.rows_of(job.paired.inferior_nd, rows_n))
        else:
            assert guided is not None  # noqa: S101  (such rows have one)
            parts.append(_guided(job, rows_n, guided, codes, out_of_fold=out_of_fold))
    return parts[0] if len(parts) == 1 else codes.side_by_side(*parts)


def _guided(job: RowsJob, rows_n: np.ndarray, guided: Guided, codes: SharedCodes, *, out_of_fold: bool) -> np.ndarray:
    """(n, d_S) G(z_I)."""
    model = _fitted(guided.model)
    z_inferior_nd = codes.rows_of(job.paired.inferior_nd, rows_n)
    if not (out_of_fold and guided.without_fold):
        return codes.guided(model, z_inferior_nd)
    models = [*map(_fitted, guided.without_fold), model]
    left_out = left_out_with(rows_n, job.pairs, job.cross_fit, seed=job.seed)
    return codes.guided_out_of_fold(models, left_out, z_inferior_nd)


def _fitted(model: Model) -> GuidanceModel:
    if isinstance(model, DivergedError):
        raise model
    return model
