"""Trains the input rows of many training sets at once: first every G, then every decoder, then the predictions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_choice, check_number, check_seed
from guidestore.heads.choice import Choice
from guidestore.heads.cross_fitting import check_cross_fit, left_out_with
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders, fit_guidance, needs_decoder
from guidestore.heads.fusion.fused import FusedDecoder
from guidestore.heads.guidance.controls import NOISE, REPEATED, SHUFFLED, Noise, Repeated, shuffle_pairs
from guidestore.heads.input_rows import (
    ALL_ROWS,
    CONTROLS,
    FUSED_ROWS,
    GUIDED,
    GUIDED_PLUS_I,
    GUIDED_ROWS,
    S_PLUS_I,
    Component,
    I,
    Mode,
    Place,
    S,
    TrainedHead,
    places_of,
)
from guidestore.heads.metrics import evaluate
from guidestore.heads.protocol import Decoder, DecoderProblem, FrozenDecoder, GuidanceModel, GuidanceProblem
from guidestore.heads.registry import CONCATENATION, build_decoder, build_fusion, build_guidance, check_class_weights
from guidestore.heads.shared_codes import SharedCodes


@dataclass(frozen=True, slots=True, eq=False)
class RowsJob:
    """What to train on one training set under one mode and seed, with one guidance model and one decoder."""

    paired: PairedCodes
    mode: Mode
    seed: int
    guidance: Choice
    decoder: Choice
    places: tuple[Place, ...] = places_of()
    """Which heads; see `places_of`."""
    d_i: FrozenDecoder | None = None
    """The stored D_I on z_I: as-published needs those that its rows use, matched takes none."""
    d_s: FrozenDecoder | None = None
    """The stored D_S on z_S."""
    cross_fit: int = 0
    """Folds of G for the train rows of G(I)+I (heads.cross_fitting); 0: they come from the G that saw them."""
    fusion: Choice = field(default_factory=lambda: Choice.of(CONCATENATION))
    """How S+I and G(I)+I combine their two codes; other rows have one."""


def train_rows(jobs: Sequence[RowsJob], *, device: str = "cpu") -> list[list[TrainedHead]]:
    """Per job: train its heads on train, choose on val, predict val and test once; in the order of its places.

    Permutation p of the shuffled-pairs control trains G with the job's seed on pairs shuffled by (seed, p). device:
    where networks train. G is fitted on train pairs, labelled or not, through the decoder of row S (matched) or D_S
    where its loss says so; decoders on the labelled train rows that have the
    modalities of the row, with val alike for early stopping. G(I)+I is fitted on the same cases as I. All jobs are
    fitted at once: jobs of the same pairs, seed and guidance share each G, rows without G are shared by all guidance
    models, rows with one code by all fusions, and a head does not depend on its company.

    All input is checked before anything is trained. A fit that diverges marks the heads that use it (status 'diverged')
    and harms no other. Raises InvalidInputError.
    """
    folds = [_Fold(job) for job in jobs]
    for fold in folds:
        fold.check()
    return _Training(folds, device).heads()


Model = GuidanceModel | DivergedError
"""A fitted G, or why there is none."""
Models = Mapping[tuple[int, str, int], Model]
"""(job, control, permutation) -> G."""
Decoders = Mapping[tuple[int, str, str, int], Decoder | DivergedError]
"""(job, row that it is trained as, control, permutation) -> decoder; rows without G have the true pairs' alone."""
TRUE_PAIRS = ("", -1)
"""Control and permutation of the real thing."""


@dataclass(frozen=True, slots=True)
class _Fold:
    """One job and what it asks for."""

    job: RowsJob

    @property
    def paired(self) -> PairedCodes:
        return self.job.paired

    @property
    def rows(self) -> list[str]:
        """The rows of its places, each once."""
        return list(dict.fromkeys(row for row, _, _ in self.job.places))

    def modalities(self, row: str) -> np.ndarray:
        """(n,) bool: the case has what the row reads."""
        if row == S_PLUS_I:
            return self.paired.is_pair
        return self.paired.has_superior if row == S else self.paired.has_inferior

    def trained_as(self, row: str) -> str:
        """The row whose decoder `row` uses, '' where that is a stored D_I or D_S."""
        if self.job.mode == "matched":
            return S if row == GUIDED else row
        return "" if row in (S, I, GUIDED) else row

    def stored(self, row: str) -> FrozenDecoder | None:
        """The stored decoder that `row` uses; None where it is trained."""
        return None if self.trained_as(row) else self.job.d_i if row == I else self.job.d_s

    def labelled(self, part: str, row: str) -> np.ndarray:
        """Rows of `part` that the decoder of `row` may be fitted or stopped on."""
        return self.paired.rows(part, self.paired.has_label, self.modalities(row))

    @property
    def pairs(self) -> np.ndarray:
        """Rows that G is fitted on."""
        return self.paired.rows("train", self.paired.is_pair)

    def fusion(self, row: str) -> Choice | None:
        """How `row` combines its codes; None where it has one, or has them side by side."""
        return self.job.fusion if row in FUSED_ROWS and self.job.fusion != Choice.of(CONCATENATION) else None

    def build_decoder(self, row: str) -> Decoder:
        """An unfitted one for `row`, its fusion in front."""
        decoder = build_decoder(self.job.decoder.name, target=self.paired.target, **self.job.decoder.params)
        asked = self.fusion(row)
        fusion = build_fusion(asked.name, **asked.params) if asked else None
        if fusion is None:
            return decoder
        return FusedDecoder(fusion, decoder, (self.paired.superior_nd.shape[1], self.paired.inferior_nd.shape[1]))

    def build_guidance(self) -> GuidanceModel:
        """An unfitted one."""
        return build_guidance(self.job.guidance.name, **self.job.guidance.params)

    def decoder_shown(self, row: str) -> str:
        """How tables call the decoder of a head."""
        stored, fusion = self.stored(row), self.fusion(row)
        if stored is not None:
            return stored.name
        return f"{self.job.decoder}, fusion={fusion}" if fusion else str(self.job.decoder)

    @property
    def through_decoder(self) -> bool:
        """G is asked for and learns through D_S."""
        return any(row in GUIDED_ROWS for row in self.rows) and needs_decoder(self.build_guidance())

    def decoder_place(self, row: str, control: str, permutation: int) -> tuple[str, str, int]:
        """What the decoder of a head is trained as."""
        trained_as = self.trained_as(row)
        return (trained_as, control, permutation) if trained_as in GUIDED_ROWS else (trained_as, *TRUE_PAIRS)

    def guidance_variants(self) -> list[tuple[str, int]]:
        """Control and permutation of each G that is fitted; noise has the moments of the one on true pairs."""
        asked = [(control, permutation) for row, control, permutation in self.job.places if row in GUIDED_ROWS]
        return list(dict.fromkeys((c, p) if c in ("", SHUFFLED) else TRUE_PAIRS for c, p in asked))

    def check(self) -> None:
        paired, job, where = self.paired, self.job, f"{self.paired.cohort}/{self.paired.split}/{self.paired.fold}"
        check_choice(job.mode, "mode", get_args(Mode))
        check_seed(job.seed)
        if not job.places or len(set(job.places)) != len(job.places):
            raise InvalidInputError(f"{where}: {len(job.places)} heads are asked for, or one twice; name each once")
        for row, control, permutation in job.places:
            if row not in ALL_ROWS:
                raise unknown_name("input row", row, ALL_ROWS)
            known = {GUIDED: (SHUFFLED,), GUIDED_PLUS_I: CONTROLS}.get(row, ())
            check_choice(control, f"control of row {row}", ("", *known))
            check_number(permutation, "permutation", 0 if control else -1, integer=True)
        if len(paired.classes) < 2:
            raise InvalidInputError(f"target {paired.target} has fewer than 2 classes; there is nothing to predict")
        self.build_guidance()
        self.build_decoder(S_PLUS_I)
        check_class_weights(job.decoder.name, paired.classes, job.decoder.params, target=paired.target)
        self.check_stored()
        guided = [row for row in self.rows if row in GUIDED_ROWS]
        n_pairs = len(self.pairs)
        if guided and n_pairs < 2:
            raise InvalidInputError(
                f"{where} has {n_pairs} train pairs, but {guided[0]} fits G on at least 2; materialize both modalities "
                "for its train cases"
            )
        check_cross_fit(job.cross_fit, n_pairs, where)
        for row in dict.fromkeys((*self.rows, S) if self.through_decoder else self.rows):
            trained_as = self.trained_as(row)
            if not trained_as:
                continue
            needs = {S_PLUS_I: "both modalities", S: "z_S"}.get(trained_as, "z_I")
            have = set(paired.labels[self.labelled("train", trained_as)].tolist())
            missing = [name for c, name in enumerate(paired.classes) if c not in have]
            if missing:
                raise InvalidInputError(
                    f"{where}: no train case with {needs} is labelled {' or '.join(missing)} for {paired.target}, "
                    f"which row {row} needs; leave the class out or draw another split"
                )
            if not len(self.labelled("val", trained_as)):
                raise InvalidInputError(
                    f"{where}: no val case with {needs} is labelled for {paired.target}, so row {row} cannot stop "
                    "early; draw a split with a val part"
                )

    def check_stored(self) -> None:
        """D_I and D_S are there where the mode uses them, fit the codes and the classes, and nowhere else."""
        if self.job.mode == "matched":
            if self.job.d_i is not None or self.job.d_s is not None:
                raise InvalidInputError(
                    "mode matched trains every decoder itself and takes no d_i or d_s; leave them out or use "
                    "as-published"
                )
            return
        used = (
            ("d_i", self.job.d_i, (I,), self.paired.inferior_nd.shape[1]),
            (
                "d_s",
                self.job.d_s,
                (S, *(GUIDED_ROWS if self.through_decoder else (GUIDED,))),
                self.paired.superior_nd.shape[1],
            ),
        )
        for name, stored, its_rows, code_dim in used:
            wanted = [row for row in self.rows if row in its_rows]
            if not wanted:
                continue
            if stored is None:
                raise InvalidInputError(
                    f"row {wanted[0]} as-published is the stored classifier, but {name} is missing; pass it or use "
                    "matched"
                )
            k = stored.predict_proba(np.zeros((1, code_dim), dtype=np.float32)).shape[1]
            if k != len(self.paired.classes):
                raise InvalidInputError(
                    f"{name} predicts {k} classes, but target {self.paired.target} has {len(self.paired.classes)}; use "
                    "the classifier that was trained on this target"
                )


@dataclass(slots=True)
class _Training:
    """All jobs of one call, fitted together: the D_S that some G need, every G, then every other decoder."""

    folds: list[_Fold]
    device: str
    codes: SharedCodes = field(default_factory=SharedCodes)
    out_of_fold: dict[tuple[int, str, int], list[Model]] = field(default_factory=dict)
    """(job, control, permutation) -> per fold of the cross-fitting the G that did not see it."""
    fitted: dict[Hashable, Decoder | DivergedError] = field(default_factory=dict)
    """Every decoder so far by what it was fitted on."""

    def heads(self) -> list[list[TrainedHead]]:
        teachers = self.fit_decoders([[(S, *TRUE_PAIRS)] if fold.through_decoder else [] for fold in self.folds], {})
        models = self.fit_guidance(teachers)
        decoders = self.fit_decoders([fold.job.places for fold in self.folds], models)
        return [
            [self.head(number, place, models, decoders) for place in fold.job.places]
            for number, fold in enumerate(self.folds)
        ]

    def fit_guidance(self, teachers: Decoders) -> Models:
        """G of each job on its train pairs, shuffled or not, and what stands in for it; equal ones are fitted once."""
        problems: dict[Hashable, GuidanceProblem] = {}
        keys: dict[tuple[int, str, int], list[Hashable]] = {}
        models: dict[tuple[int, str, int], Model] = {}
        for number, fold in enumerate(self.folds):
            pairs, job = fold.pairs, fold.job
            z_inferior_nd = self.codes.rows_of(job.paired.inferior_nd, pairs)
            true_nd = self.codes.rows_of(job.paired.superior_nd, pairs)
            teacher = (job.d_s or teachers[number, S, *TRUE_PAIRS]) if fold.through_decoder else None
            fold_n = left_out_with(pairs, pairs, job.cross_fit, seed=job.seed)
            for control, permutation in fold.guidance_variants():
                place = (number, control, permutation)
                if isinstance(teacher, DivergedError):
                    models[place] = teacher
                    continue
                shared = (id(z_inferior_nd), id(true_nd), job.guidance, job.seed, permutation, id(teacher))
                parts = range(job.cross_fit) if GUIDED_PLUS_I in fold.rows else ()
                keys[place] = [shared, *((*shared, job.cross_fit, left_out) for left_out in parts)]
                if all(key in problems for key in keys[place]):
                    continue
                superior_nd = true_nd
                if control == SHUFFLED:
                    superior_nd = shuffle_pairs(true_nd, seed=job.seed, permutation=permutation)
                kept = [(z_inferior_nd, superior_nd)]
                kept += [(z_inferior_nd[fold_n != left_out], superior_nd[fold_n != left_out]) for left_out in parts]
                for key, both in zip(keys[place], kept, strict=True):
                    if key not in problems:
                        problems[key] = GuidanceProblem(fold.build_guidance(), *both, job.seed, teacher)
        fitted = dict(zip(problems, fit_guidance(list(problems.values()), device=self.device), strict=True))
        for place, (key, *left_out) in keys.items():
            models[place], self.out_of_fold[place] = fitted[key], [fitted[k] for k in left_out]
        return models | self.stand_ins(models)

    def stand_ins(self, models: Models) -> dict[tuple[int, str, int], Model]:
        """Noise and repeated z_I in place of each job's G."""
        made: dict[Hashable, Model] = {}
        places: dict[tuple[int, str, int], Hashable] = {}
        for number, fold in enumerate(self.folds):
            model = models.get((number, *TRUE_PAIRS))
            for control in dict.fromkeys(control for _, control, _ in fold.job.places if control in (NOISE, REPEATED)):
                assert model is not None  # noqa: S101  (see guidance_variants)
                key = places[number, control, 0] = (control, id(model), fold.job.seed)
                if key in made:
                    continue
                z_inferior_nd = self.codes.rows_of(fold.paired.inferior_nd, fold.pairs)
                try:
                    guided_nd = self.read(fold, GUIDED, fold.pairs, model)
                    stand_in = Noise() if control == NOISE else Repeated()
                    made[key] = stand_in.fit(z_inferior_nd, guided_nd, seed=fold.job.seed)
                except DivergedError as error:
                    made[key] = error
        return {place: made[key] for place, key in places.items()}

    def fit_decoders(self, places: Sequence[Sequence[Place]], models: Models) -> Decoders:
        """The decoders of these heads of each job; equal ones, of an earlier call too, are fitted once."""
        problems: dict[Hashable, DecoderProblem] = {}
        keys: dict[tuple[int, str, str, int], Hashable] = {}
        for number, fold in enumerate(self.folds):
            job, labels = fold.job, fold.paired.labels
            for asked in places[number]:
                trained_as, control, permutation = fold.decoder_place(*asked)
                place = (number, trained_as, control, permutation)
                if not trained_as or place in keys:
                    continue
                variant = (number, control, permutation)
                model = models[variant] if trained_as in GUIDED_ROWS else None
                train, val = fold.labelled("train", trained_as), fold.labelled("val", trained_as)
                try:
                    x_nd = self.read(fold, trained_as, train, model, self.out_of_fold.get(variant, ()))
                    x_val_nd = self.read(fold, trained_as, val, model)
                except DivergedError as error:
                    keys[place] = place
                    self.fitted[place] = error
                    continue
                of_labels = (job.paired.target, labels[train].tobytes(), labels[val].tobytes())
                key = (id(x_nd), id(x_val_nd), *of_labels, job.decoder, fold.fusion(trained_as), job.seed)
                keys[place] = key
                if key not in problems and key not in self.fitted:
                    k = len(job.paired.classes)
                    problems[key] = DecoderProblem(
                        fold.build_decoder(trained_as), x_nd, labels[train], x_val_nd, labels[val], k, job.seed
                    )
        self.fitted |= zip(problems, fit_decoders(list(problems.values()), device=self.device), strict=True)
        return {place: self.fitted[key] for place, key in keys.items()}

    def read(
        self, fold: _Fold, row: str, rows_n: np.ndarray, model: Model | None, out_of_fold: Sequence[Model] = ()
    ) -> np.ndarray:
        """(n, d) what the decoder of `row` reads; one array for all that read the same. Raises DivergedError.

        out_of_fold: where given, each row's G(z_I) comes from the one that did not see it.
        """
        if isinstance(model, DivergedError):
            raise model
        inferior_nd, superior_nd = fold.paired.inferior_nd, fold.paired.superior_nd
        if row == I:
            return self.codes.rows_of(inferior_nd, rows_n)
        if row == S:
            return self.codes.rows_of(superior_nd, rows_n)
        if row == S_PLUS_I:
            return self.codes.side_by_side(
                self.codes.rows_of(superior_nd, rows_n), self.codes.rows_of(inferior_nd, rows_n)
            )
        assert model is not None  # noqa: S101  (guided rows have one)
        z_inferior_nd = self.codes.rows_of(inferior_nd, rows_n)
        if out_of_fold:
            every: list[GuidanceModel] = []
            for one in (*out_of_fold, model):
                if isinstance(one, DivergedError):
                    raise one
                every.append(one)
            left_out = left_out_with(rows_n, fold.pairs, fold.job.cross_fit, seed=fold.job.seed)
            guided_nd = self.codes.guided_out_of_fold(every, left_out, z_inferior_nd)
        else:
            guided_nd = self.codes.guided(model, z_inferior_nd)
        return guided_nd if row == GUIDED else self.codes.side_by_side(guided_nd, z_inferior_nd)

    def head(
        self,
        number: int,
        place: Place,
        models: Models,
        decoders: Decoders,
    ) -> TrainedHead:
        """The head at `place` predicted with what was fitted, or marked as diverged."""
        (row, control, permutation), fold = place, self.folds[number]
        job, paired, trained_as, stored = fold.job, fold.paired, fold.trained_as(row), fold.stored(row)
        model = models[number, control, permutation] if row in GUIDED_ROWS else None
        common: dict[str, Any] = {
            "row": row,
            "mode": job.mode,
            "guidance": str(job.guidance) if row in GUIDED_ROWS else "",
            "decoder": fold.decoder_shown(row),
            "control": control,
            "permutation": permutation,
            "seed": job.seed,
            "n_pairs": len(fold.pairs) if row in GUIDED_ROWS else 0,
            "n_train": len(fold.labelled("train", trained_as)) if trained_as else 0,
        }
        shown = np.flatnonzero(np.isin(paired.parts, ("val", "test")) & fold.modalities(row))
        try:
            decoder: Any = stored
            if stored is None:
                decoder = decoders[number, *fold.decoder_place(*place)]
            for fitted in (model, decoder):
                if isinstance(fitted, DivergedError):
                    raise fitted
            probabilities = np.zeros((0, len(paired.classes)))
            if len(shown):
                probabilities = decoder.predict_proba(self.read(fold, row, shown, model))
        except DivergedError as error:
            return TrainedHead(**common, status="diverged", message=str(error))
        parts, labels = paired.parts[shown], paired.labels[shown]
        metrics = {}
        for part in ("val", "test"):
            scored = (parts == part) & (labels >= 0)
            if scored.any():
                metrics[part] = evaluate(labels[scored], probabilities[scored], paired.classes)
        components: dict[str, Component] = {"decoder": (decoder.config, decoder.tensors())}
        facts = {} if stored is not None else {f"decoder_{name}": value for name, value in decoder.facts.items()}
        if model is not None and not isinstance(model, DivergedError):
            components["guidance"] = (model.config, model.tensors())
            facts |= {f"guidance_{name}": value for name, value in model.facts.items()}
            if self.out_of_fold.get((number, control, permutation)) and row == GUIDED_PLUS_I:
                facts["guidance_cross_fit"] = float(job.cross_fit)
        return TrainedHead(
            **common,
            status="ok",
            case_ids=tuple(paired.case_ids[i] for i in shown),
            parts=parts,
            labels=labels,
            probabilities=probabilities,
            metrics=metrics,
            components=components,
            facts=facts,
        )
