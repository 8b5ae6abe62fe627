"""The five input rows of the paper's tables, trained on one fold: S+I, S, I, G(I), G(I)+I, and the shuffled control.

| row | codes of its decoder | as-published | matched | needs at test time |
|---|---|---|---|---|
| S+I | [z_S, z_I] | fresh decoder | fresh decoder | both |
| S | z_S | stored D_S | fresh decoder | z_S |
| I | z_I | stored D_I | fresh decoder | z_I |
| G(I) | G(z_I) | stored D_S, frozen | the decoder of row S, frozen | z_I |
| G(I)+I | [G(z_I), z_I] | fresh decoder (D_c, eq. 5) | fresh decoder | z_I |

Comparing C_I with D_c mixes two changes (guidance, and another decoder); `matched` changes one at a time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from embeddings.errors import InvalidInputError
from embeddings.types import PairedCodes
from heads.checks import check_choice, check_codes, check_number, check_seed, unknown_name
from heads.errors import DivergedError
from heads.fitting import fit_decoders, fit_guidance
from heads.guidance.controls import SHUFFLED, shuffle_pairs
from heads.metrics import evaluate
from heads.protocol import Decoder, DecoderProblem, FrozenDecoder, GuidanceModel, GuidanceProblem
from heads.registry import build_decoder, build_guidance, check_class_weights, load_decoder, load_guidance
from heads.shared_codes import SharedCodes

S_PLUS_I = "S+I"
S = "S"
I = "I"  # noqa: E741  (the paper's name)
GUIDED = "G(I)"
GUIDED_PLUS_I = "G(I)+I"
ALL_ROWS = (S_PLUS_I, S, I, GUIDED, GUIDED_PLUS_I)
"""In the order of the paper's tables."""
GUIDED_ROWS = (GUIDED, GUIDED_PLUS_I)
INFERIOR_ROWS = (I, GUIDED, GUIDED_PLUS_I)
"""Need z_I alone at test time."""

Mode = Literal["as-published", "matched"]
Component = tuple[dict[str, Any], dict[str, np.ndarray]]
"""config and tensors of a model: what `load_guidance` and `load_decoder` take."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """One trained row with its predictions. m: cases predicted (val and test rows with the row's modalities)."""

    row: str
    mode: str
    guidance: str
    """Name or preset of G; '' for rows without."""
    decoder: str
    """Name or preset of the fitted decoder; the stored decoder's own name where the mode uses D_I or D_S."""
    control: str
    """'' or 'shuffled'."""
    permutation: int
    """Of the control, from 0; -1 for the true pairs."""
    seed: int
    status: Literal["ok", "diverged"]
    message: str = ""
    """The sentence of the divergence; '' if ok."""
    case_ids: tuple[str, ...] = ()
    """(m,), in the order of the paired codes; unlabelled cases too. All empty where diverged."""
    parts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype="<U5"))
    """(m,) str: val or test."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(m,) int64; -1 where unlabelled."""
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(m, k) float64."""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Part -> metric -> value over its labelled cases (heads.metrics.evaluate); parts without labels are left out."""
    components: Mapping[str, Component] = field(default_factory=dict)
    """'decoder' and, for guided rows, 'guidance': enough for `predict_row`."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """guidance_* and decoder_*: what the fits found (decoder_best_epoch, decoder_val_loss, guidance_alpha, …)."""
    n_pairs: int = 0
    """Train pairs that G was fitted on, unlabelled ones too; 0 without G."""
    n_train: int = 0
    """Labelled train rows that the decoder was fitted on; 0 for a stored D_I or D_S."""


@dataclass(frozen=True, slots=True, eq=False)
class RowsJob:
    """One training set under one mode and seed."""

    paired: PairedCodes
    mode: Mode
    seed: int
    d_i: FrozenDecoder | None = None
    """The stored D_I on z_I: as-published needs those that its rows use, matched takes none."""
    d_s: FrozenDecoder | None = None
    """The stored D_S on z_S."""


def train_rows(
    jobs: Sequence[RowsJob],
    *,
    guidance: str,
    decoder: str,
    guidance_params: Mapping[str, Any] | None = None,
    decoder_params: Mapping[str, Any] | None = None,
    permutations: int = 5,
    rows: Sequence[str] = ALL_ROWS,
    device: str = "cpu",
) -> list[list[TrainedHead]]:
    """Per job: train the `rows` on train, choose on val, predict val and test once; then the controls of guided rows.

    guidance, decoder: names or presets of heads.registry, with parameters that override theirs. permutations: runs of
    the shuffled-pairs control for each guided row; permutation p trains G with the job's seed on pairs shuffled by
    (seed, p). device: where networks train.

    G is fitted on train pairs, labelled or not; decoders on the labelled train rows that have the modalities of the
    row, with val alike for early stopping. G(I)+I is fitted on the same cases as I. All jobs are fitted at once: jobs
    of the same pairs and seed (other targets, another mode) share each G, and a head does not depend on its company.

    All input is checked before anything is trained. A job's heads come in the order of `rows`, then each permutation. A
    fit that diverges marks the heads that use it (status 'diverged') and harms no other. Raises InvalidInputError.
    """
    params = (dict(guidance_params or {}), dict(decoder_params or {}))
    folds = [
        _Fold(job.paired, guidance, decoder, job.mode, check_seed(job.seed), *params, job.d_i, job.d_s) for job in jobs
    ]
    for fold in folds:
        fold.check(tuple(rows), permutations)
    return _Training(folds, tuple(rows), permutations, device).heads()


def predict_row(row: str, components: Mapping[str, Component], z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_I) z_I -> (n, k) float64 probabilities of a trained head, from its components.

    Rows I, G(I) and G(I)+I alone: S and S+I need the superior image and are refused. Raises InvalidInputError.
    """
    if row not in ALL_ROWS:
        raise unknown_name("input row", row, ALL_ROWS)
    if row not in INFERIOR_ROWS:
        raise InvalidInputError(
            f"row {row} needs the superior image, so it cannot predict from z_I alone; use {', '.join(INFERIOR_ROWS)}"
        )
    needed = ("guidance", "decoder") if row in GUIDED_ROWS else ("decoder",)
    for name in needed:
        if name not in components:
            raise InvalidInputError(f"row {row} lacks its {name}; pass all components of the trained head")
    decoder = load_decoder(*components["decoder"])
    model = load_guidance(*components["guidance"]) if row in GUIDED_ROWS else None
    return decoder.predict_proba(_inferior_input(row, model, check_codes(z_inferior_nd, f"row {row}: z_I")))


def _inferior_input(row: str, model: GuidanceModel | None, z_inferior_nd: np.ndarray) -> np.ndarray:
    """What the decoder of I, G(I) or G(I)+I reads, from z_I alone."""
    if model is None:
        return z_inferior_nd
    guided_nd = model.predict(z_inferior_nd)
    return guided_nd if row == GUIDED else np.hstack([guided_nd, z_inferior_nd])


Model = GuidanceModel | DivergedError
"""A fitted G, or why there is none."""


@dataclass(slots=True)
class _Fold:
    """One job and what it asks for."""

    paired: PairedCodes
    guidance: str
    decoder: str
    mode: str
    seed: int
    guidance_params: dict[str, Any]
    decoder_params: dict[str, Any]
    d_i: FrozenDecoder | None
    d_s: FrozenDecoder | None

    def modalities(self, row: str) -> np.ndarray:
        """(n,) bool: the case has what the row reads."""
        if row == S_PLUS_I:
            return self.paired.is_pair
        return self.paired.has_superior if row == S else self.paired.has_inferior

    def trained_as(self, row: str) -> str:
        """The row whose decoder `row` uses, '' where that is a stored D_I or D_S."""
        if self.mode == "matched":
            return S if row == GUIDED else row
        return "" if row in (S, I, GUIDED) else row

    def stored(self, row: str) -> FrozenDecoder | None:
        """The stored decoder that `row` uses; None where it is trained."""
        return None if self.trained_as(row) else self.d_i if row == I else self.d_s

    def labelled(self, part: str, row: str) -> np.ndarray:
        """Rows of `part` that the decoder of `row` may be fitted or stopped on."""
        return self.paired.rows(part, self.paired.has_label, self.modalities(row))

    @property
    def pairs(self) -> np.ndarray:
        """Rows that G is fitted on."""
        return self.paired.rows("train", self.paired.is_pair)

    def build_decoder(self) -> Decoder:
        """An unfitted one."""
        return build_decoder(self.decoder, target=self.paired.target, **self.decoder_params)

    def check(self, rows: tuple[str, ...], permutations: int) -> None:
        paired, where = self.paired, f"{self.paired.cohort}/{self.paired.split}/{self.paired.fold}"
        check_choice(self.mode, "mode", get_args(Mode))
        check_number(permutations, "permutations", 0, integer=True)
        if not rows or len(set(rows)) != len(rows):
            raise InvalidInputError(f"rows are {', '.join(rows) or 'empty'}; name each wanted row once")
        for row in rows:
            if row not in ALL_ROWS:
                raise unknown_name("input row", row, ALL_ROWS)
        if len(paired.classes) < 2:
            raise InvalidInputError(f"target {paired.target} has fewer than 2 classes; there is nothing to predict")
        build_guidance(self.guidance, **self.guidance_params)
        self.build_decoder()
        check_class_weights(self.decoder, paired.classes, self.decoder_params, target=paired.target)
        self.check_stored(rows)
        guided = [row for row in rows if row in GUIDED_ROWS]
        n_pairs = len(paired.rows("train", paired.is_pair))
        if guided and n_pairs < 2:
            raise InvalidInputError(
                f"{where} has {n_pairs} train pairs, but {guided[0]} fits G on at least 2; materialize both modalities "
                "for its train cases"
            )
        for row in rows:
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

    def check_stored(self, rows: tuple[str, ...]) -> None:
        """D_I and D_S are there where the mode uses them, fit the codes and the classes, and nowhere else."""
        if self.mode == "matched":
            if self.d_i is not None or self.d_s is not None:
                raise InvalidInputError(
                    "mode matched trains every decoder itself and takes no d_i or d_s; leave them out or use "
                    "as-published"
                )
            return
        used = (
            ("d_i", self.d_i, (I,), self.paired.inferior_nd.shape[1]),
            ("d_s", self.d_s, (S, GUIDED), self.paired.superior_nd.shape[1]),
        )
        for name, stored, its_rows, code_dim in used:
            wanted = [row for row in rows if row in its_rows]
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
    """All jobs of one call, fitted together: first every G, then every decoder. -1 is the permutation of true pairs."""

    folds: list[_Fold]
    rows: tuple[str, ...]
    permutations: int
    device: str
    codes: SharedCodes = field(default_factory=SharedCodes)

    def heads(self) -> list[list[TrainedHead]]:
        guided = [row for row in self.rows if row in GUIDED_ROWS]
        plan = [(row, -1) for row in self.rows]
        plan += [(row, p) for p in range(self.permutations if guided else 0) for row in guided]
        models = self.fit_guidance(sorted({p for row, p in plan if row in GUIDED_ROWS}))
        decoders = self.fit_decoders(plan, models)
        return [
            [self.head(number, row, permutation, models, decoders) for row, permutation in plan]
            for number in range(len(self.folds))
        ]

    def fit_guidance(self, permutations: list[int]) -> dict[tuple[int, int], Model]:
        """(job, permutation) -> G on its train pairs, shuffled where permutation >= 0; the same pairs share one G."""
        problems: dict[Hashable, GuidanceProblem] = {}
        places: dict[tuple[int, int], Hashable] = {}
        for number, fold in enumerate(self.folds):
            pairs = fold.pairs
            z_inferior_nd = self.codes.rows_of(fold.paired.inferior_nd, pairs)
            true_nd = self.codes.rows_of(fold.paired.superior_nd, pairs)
            for permutation in permutations:
                key = (id(z_inferior_nd), id(true_nd), fold.seed, permutation)
                places[number, permutation] = key
                if key not in problems:
                    z_superior_nd = true_nd
                    if permutation >= 0:
                        z_superior_nd = shuffle_pairs(true_nd, seed=fold.seed, permutation=permutation)
                    model = build_guidance(fold.guidance, **fold.guidance_params)
                    problems[key] = GuidanceProblem(model, z_inferior_nd, z_superior_nd, fold.seed)
        fitted = dict(zip(problems, fit_guidance(list(problems.values()), device=self.device), strict=True))
        return {place: fitted[key] for place, key in places.items()}

    def fit_decoders(
        self, plan: list[tuple[str, int]], models: Mapping[tuple[int, int], Model]
    ) -> dict[tuple[int, str, int], Decoder | DivergedError]:
        """(job, row that it is trained as, permutation) -> its decoder."""
        fitted: dict[tuple[int, str, int], Decoder | DivergedError] = {}
        problems: dict[tuple[int, str, int], DecoderProblem] = {}
        for number, fold in enumerate(self.folds):
            for row, permutation in plan:
                trained_as = fold.trained_as(row)
                place = (number, trained_as, permutation if trained_as in GUIDED_ROWS else -1)
                if not trained_as or place in problems or place in fitted:
                    continue
                model = models.get((number, place[2])) if trained_as in GUIDED_ROWS else None
                train, val = fold.labelled("train", trained_as), fold.labelled("val", trained_as)
                try:
                    x_nd, x_val_nd = (self.read(fold, trained_as, part, model) for part in (train, val))
                except DivergedError as error:
                    fitted[place] = error
                    continue
                problems[place] = DecoderProblem(
                    fold.build_decoder(),
                    x_nd,
                    fold.paired.labels[train],
                    x_val_nd,
                    fold.paired.labels[val],
                    len(fold.paired.classes),
                    fold.seed,
                )
        return fitted | dict(zip(problems, fit_decoders(list(problems.values()), device=self.device), strict=True))

    def read(self, fold: _Fold, row: str, rows_n: np.ndarray, model: Model | None) -> np.ndarray:
        """(n, d) what the decoder of `row` reads; one array for all that read the same. Raises DivergedError."""
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
        guided_nd = self.codes.guided(model, z_inferior_nd)
        return guided_nd if row == GUIDED else self.codes.side_by_side(guided_nd, z_inferior_nd)

    def head(
        self,
        number: int,
        row: str,
        permutation: int,
        models: Mapping[tuple[int, int], Model],
        decoders: Mapping[tuple[int, str, int], Decoder | DivergedError],
    ) -> TrainedHead:
        """`row` predicted with what was fitted, or marked as diverged."""
        fold = self.folds[number]
        paired, trained_as, stored = fold.paired, fold.trained_as(row), fold.stored(row)
        model = models[number, permutation] if row in GUIDED_ROWS else None
        common: dict[str, Any] = {
            "row": row,
            "mode": fold.mode,
            "guidance": fold.guidance if row in GUIDED_ROWS else "",
            "decoder": fold.decoder if stored is None else stored.name,
            "control": SHUFFLED if permutation >= 0 else "",
            "permutation": permutation,
            "seed": fold.seed,
            "n_pairs": len(fold.pairs) if row in GUIDED_ROWS else 0,
            "n_train": len(fold.labelled("train", trained_as)) if trained_as else 0,
        }
        shown = np.flatnonzero(np.isin(paired.parts, ("val", "test")) & fold.modalities(row))
        try:
            decoder: Any = stored
            if stored is None:
                decoder = decoders[number, trained_as, permutation if trained_as in GUIDED_ROWS else -1]
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
