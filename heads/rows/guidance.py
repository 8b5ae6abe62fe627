"""Every G of many jobs: on true pairs, on shuffled ones, without each fold, and what stands in for it. Equal ones are
fitted once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from guidestore.heads.controls import CONTROLS, in_control_order
from guidestore.heads.cross_fitting import left_out_with
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_guidance
from guidestore.heads.input_rows import INPUT_ROWS
from guidestore.heads.outcomes import strata
from guidestore.heads.protocol import FrozenDecoder, FrozenForeteller, GuidanceModel, GuidanceProblem
from guidestore.heads.registry import build_stand_in
from guidestore.heads.rows.job import TRUE_PAIRS, RowsJob
from guidestore.heads.shared_codes import SharedCodes

type Model = GuidanceModel | DivergedError
"""A fitted G, or why there is none."""
type Variant = tuple[int, str, int]
"""(number of the job, control, permutation)."""


@dataclass(frozen=True, slots=True)
class Guided:
    """The G of one variant."""

    model: Model
    without_fold: tuple[Model, ...] = ()
    """Per fold of the cross-fitting the G that did not see it."""


def fit_all(
    jobs: Sequence[RowsJob],
    teachers: Mapping[int, FrozenDecoder | FrozenForeteller | DivergedError],
    codes: SharedCodes,
    *,
    device: str,
) -> dict[Variant, Guided]:
    """G of every variant of every job, all fitted at once. teachers: number of a job -> the D_S that its G learns
    through; a variant whose teacher diverged has diverged."""
    guided: dict[Variant, Guided] = {}
    problems: dict[Hashable, GuidanceProblem] = {}
    keys: dict[Variant, list[Hashable]] = {}
    for number, job in enumerate(jobs):
        teacher = teachers.get(number)
        for variant in job.guidance_variants():
            if isinstance(teacher, DivergedError):
                guided[number, *variant] = Guided(teacher)
            else:
                keys[number, *variant] = _ask(problems, job, variant, teacher, codes)
    fitted = dict(zip(problems, fit_guidance(list(problems.values()), device=device), strict=True))
    guided |= {
        variant: Guided(fitted[whole], tuple(fitted[key] for key in without_fold))
        for variant, (whole, *without_fold) in keys.items()
    }
    return guided | _stand_ins(jobs, guided, codes)


def _ask(
    problems: dict[Hashable, GuidanceProblem],
    job: RowsJob,
    variant: tuple[str, int],
    teacher: FrozenDecoder | FrozenForeteller | None,
    codes: SharedCodes,
) -> list[Hashable]:
    """Puts what nobody asked for yet into `problems`. The keys of the G on all pairs, then of those without a fold."""
    pairs, (control, permutation) = job.pairs, variant
    z_inferior_nd = codes.rows_of(job.paired.inferior_nd, pairs)
    z_superior_nd = codes.rows_of(job.paired.superior_nd, pairs)
    folds = range(job.cross_fit) if any(INPUT_ROWS[row].cross_fits for row in job.guided_rows) else ()
    labels_n = strata(job.paired)[pairs]
    by_class = bool(control) and CONTROLS[control].orders == "class"
    of_labels = labels_n.tobytes() if by_class else b""  # their order is another for each target and budget
    whole = (id(z_inferior_nd), id(z_superior_nd), job.guidance, job.seed, *variant, of_labels, id(teacher))
    keys: list[Hashable] = [whole, *((*whole, job.cross_fit, fold) for fold in folds)]
    if all(key in problems for key in keys):
        return keys
    z_superior_nd = in_control_order(control, z_superior_nd, labels_n, seed=job.seed, permutation=permutation)
    fold_n = left_out_with(pairs, pairs, job.cross_fit, seed=job.seed)
    kept = [(z_inferior_nd, z_superior_nd)]
    kept += [(z_inferior_nd[fold_n != fold], z_superior_nd[fold_n != fold]) for fold in folds]
    for key, both in zip(keys, kept, strict=True):
        if key not in problems:
            problems[key] = GuidanceProblem(job.build_guidance(), *both, job.seed, teacher)
    return keys


def _stand_ins(jobs: Sequence[RowsJob], guided: Mapping[Variant, Guided], codes: SharedCodes) -> dict[Variant, Guided]:
    """Noise and repeated z_I in place of each job's G."""
    made: dict[Hashable, Guided] = {}
    keys: dict[Variant, Hashable] = {}
    for number, job in enumerate(jobs):
        asked = dict.fromkeys(arm.control for arm in job.arms if arm.control and CONTROLS[arm.control].stand_in)
        for control in asked:
            model = guided[number, *TRUE_PAIRS].model
            key = keys[number, control, 0] = (control, id(model), job.seed)
            if key not in made:
                made[key] = Guided(_stand_in(control, job, model, codes))
    return {variant: made[key] for variant, key in keys.items()}


def _stand_in(control: str, job: RowsJob, model: Model, codes: SharedCodes) -> Model:
    """What is fitted to what G says of the train pairs."""
    if isinstance(model, DivergedError):
        return model
    z_inferior_nd = codes.rows_of(job.paired.inferior_nd, job.pairs)
    try:
        guided_nd = codes.guided(model, z_inferior_nd)
        return build_stand_in(control).fit(z_inferior_nd, guided_nd, seed=job.seed)
    except DivergedError as error:
        return error
