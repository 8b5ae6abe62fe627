"""What the packages hand to each other: codes, bags, keys and paired codes. Frozen, validated, numpy only.

Axis legend, used in names everywhere: n items, d code dimensions, k classes, b batch, c channels, h w height and
width in pixels, (d h w in `volumes_bcdhw`) depth, height and width of a volume in voxels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from guidestore.embeddings.canonical import canonical_json, sha256_of
from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind, check_y, known_of

PARTS = ("train", "val", "test")
"""The parts of a fold. '' stands for a case that the fold does not assign."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*\Z")
MAX_NAME_CHARS = 120
"""Fits a file name of 255 bytes beside our own suffixes, on every file system we know."""


def check_name(value: str, what: str) -> str:
    """`value` itself if it can be the name of a `what` (case id, cohort, modality, tag, …).

    Names become parts of paths, SQL results and shell arguments, so only letters, digits and ``. _ + = -`` are
    allowed, starting with a letter or digit, at most 120 characters. Raises InvalidNameError.
    """
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or not _NAME.match(value) or ".." in value:
        shown = repr(value if len(str(value)) <= 60 else str(value)[:57] + "...")
        article = "an" if what[:1] in "aeiou" else "a"
        raise InvalidNameError(
            f"{shown} cannot be {article} {what}: use 1 to {MAX_NAME_CHARS} letters, digits and . _ + = - (starting "
            "with a letter or digit, without '..'); rename it in the source table"
        )
    return value


@dataclass(frozen=True, slots=True)
class FoldScope:
    """What an encoder was trained on: nothing of ours (`none`), `unknown` (imports), or one fold of a cohort."""

    kind: Literal["none", "unknown", "fold"]
    cohort: str = ""
    split: str = ""
    fold: int = -1

    def __post_init__(self) -> None:
        if self.kind == "fold":
            check_name(self.cohort, "cohort")
            check_name(self.split, "split")
            if self.fold < 0:
                raise InvalidInputError(f"fold {self.fold} of split {self.split} is negative; folds count from 0")
        elif (self.cohort, self.split, self.fold) != ("", "", -1):
            raise InvalidInputError(f"a fold scope of kind {self.kind!r} names no cohort, split or fold")

    @classmethod
    def of(cls, cohort: str, split: str, fold: int) -> FoldScope:
        return cls("fold", cohort, split, int(fold))

    def __str__(self) -> str:
        return f"{self.cohort}/{self.split}/{self.fold}" if self.kind == "fold" else self.kind

    @classmethod
    def parse(cls, text: str) -> FoldScope:
        """The inverse of ``str``. Raises InvalidInputError."""
        if text in ("none", "unknown"):
            return cls(text)  # pyright: ignore[reportArgumentType]
        cohort, slash, rest = text.partition("/")
        split, slash2, fold = rest.partition("/")
        if not (slash and slash2 and fold.isascii() and fold.isdigit()):
            raise InvalidInputError(f"{text!r} is no fold scope: write none, unknown or COHORT/SPLIT/FOLD")
        return cls.of(cohort, split, int(fold))


NEVER_TRAINED = FoldScope("none")
UNKNOWN_TRAINING = FoldScope("unknown")

IMPORTED_CODES, IMPORTED_BAGS = "codes", "tile-codes"
"""Input kinds of what guidestore did not make: codes of cases, and bags of the codes of tiles."""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Identity of a function image -> code: name, implementation version, weights, preprocessing, training scope.

    `digest` is the identity used in keys: two encoders that differ in anything here never mix.
    """

    name: str
    version: str
    """Of the implementation; bump it when codes would change."""
    input_kind: str
    """Name of what it consumes, one of `encoders.kinds`; IMPORTED_CODES, IMPORTED_BAGS: nothing, they were imported."""
    code_dim: int
    """d of the codes; for a patch encoder of each patch code."""
    weights_sha256: str = ""
    """Digest of the weights file; '' for a weights-free encoder."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able parameters of the steps before the encoder, units in the names."""
    trained_on: FoldScope = NEVER_TRAINED

    def __post_init__(self) -> None:
        check_name(self.name, "encoder")
        if self.code_dim < 1:
            raise InvalidInputError(f"encoder {self.name}: code_dim is {self.code_dim}, it must be at least 1")
        canonical_json(dict(self.preprocessing))

    @property
    def digest(self) -> str:
        """sha256 over everything that decides the codes."""
        return sha256_of(
            {
                "name": self.name,
                "version": self.version,
                "input_kind": self.input_kind,
                "code_dim": self.code_dim,
                "weights_sha256": self.weights_sha256,
                "preprocessing": dict(self.preprocessing),
                "trained_on": str(self.trained_on),
            }
        )


@dataclass(frozen=True, slots=True, order=True)
class CodeSetName:
    """Names code sets: ``COHORT/MODALITY/ENCODER[@DIGEST]``, and without ``COHORT/`` where the cohort is said already.

    `digest` may be any beginning of the encoder's. Without one, all sets of that encoder are meant: those of its
    versions, and of the folds that it was trained on.
    """

    cohort: str
    modality: str
    encoder: str
    digest: str = ""

    def __post_init__(self) -> None:
        for value, what in ((self.cohort, "cohort"), (self.modality, "modality"), (self.encoder, "encoder")):
            check_name(value, what)

    @classmethod
    def parse(cls, text: str, cohort: str = "") -> CodeSetName:
        """The inverse of ``str``; with a `cohort`, of `within`. Raises InvalidInputError, InvalidNameError."""
        stem, at, digest = text.partition("@")
        parts = stem.split("/")
        if len(parts) != (2 if cohort else 3) or bool(at) != bool(digest):
            form = "MODALITY/ENCODER[@DIGEST]" if cohort else "COHORT/MODALITY/ENCODER[@DIGEST]"
            raise InvalidInputError(
                f"{text!r} names no code set{f' of cohort {cohort}' if cohort else ''}: write {form}, as "
                '`guidestore sql "FROM code_sets"` lists them'
            )
        return cls(*((cohort, *parts) if cohort else parts), digest=digest)

    def __str__(self) -> str:
        return f"{self.cohort}/{self.within}"

    @property
    def within(self) -> str:
        """``MODALITY/ENCODER[@DIGEST]``, with at most 12 digits: as it is written within the cohort."""
        return f"{self.modality}/{self.encoder_text}"

    @property
    def encoder_text(self) -> str:
        """``ENCODER[@DIGEST]``: as it is written where the modality is said too."""
        return f"{self.encoder}@{self.digest[:12]}" if self.digest else self.encoder

    @property
    def stem(self) -> CodeSetName:
        """The name without a digest."""
        return CodeSetName(self.cohort, self.modality, self.encoder)

    def means(self, other: CodeSetName) -> bool:
        """Whether `other` is this name, or one with more of a digest."""
        return self.stem == other.stem and other.digest.startswith(self.digest)


@dataclass(frozen=True, slots=True)
class CodeSetKey:
    """All codes of one (cohort, modality, encoder, fold scope); `str` gives its `name`, which tells it from others.

    The digest covers weights, preprocessing and fold scope.
    """

    cohort: str
    modality: str
    encoder: str
    encoder_digest: str
    trained_on: FoldScope
    kind: Literal["bag", "codes"]
    code_dim: int

    def __post_init__(self) -> None:
        CodeSetName(self.cohort, self.modality, self.encoder)  # checks them

    @classmethod
    def of(cls, cohort: str, modality: str, encoder: EncoderSpec) -> CodeSetKey:
        kind = "bag" if encoder.input_kind in ("tiles", IMPORTED_BAGS) else "codes"
        return cls(cohort, modality, encoder.name, encoder.digest, encoder.trained_on, kind, encoder.code_dim)

    @property
    def name(self) -> CodeSetName:
        return CodeSetName(self.cohort, self.modality, self.encoder, self.encoder_digest)

    def __str__(self) -> str:
        return str(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """The patch codes of one slide.

    features_nd: (n, d) float16 or float32, finite. coords_n2: (n, 2) int32, x and y of each tile's upper left corner
    in level-0 pixels; None where the source has none (imports only). n may be 0 (a slide without tissue).
    """

    features_nd: np.ndarray
    coords_n2: np.ndarray | None
    mpp: float | None = None
    """Level-0 um per pixel; None where the source did not say (imports only)."""
    tile_size_px: int = 0
    """Edge of a tile as the encoder saw it, in pixels."""
    tile_size_level0_px: int = 0
    """Edge of a tile in level-0 pixels."""
    magnification: float | None = None
    """Objective power of level 0, where the slide says it."""
    checked: InitVar[bool] = False
    """Whether they are those of a bag that was written: then they are not looked at, which takes as long as reading."""

    def __post_init__(self, checked: bool) -> None:
        if self.features_nd.ndim != 2 or self.features_nd.dtype not in (np.float16, np.float32):
            raise InvalidInputError(
                f"bag features are {self.features_nd.dtype} of shape {self.features_nd.shape}; they must be "
                "(n, d) float16 or float32"
            )
        if self.coords_n2 is not None and (
            self.coords_n2.shape != (len(self.features_nd), 2) or self.coords_n2.dtype != np.int32
        ):
            raise InvalidInputError(
                f"bag coordinates are {self.coords_n2.dtype} of shape {self.coords_n2.shape}; they must be int32 "
                f"({len(self.features_nd)}, 2)"
            )
        if not (checked or _all_finite(self.features_nd)):
            rows = np.flatnonzero(~np.isfinite(self.features_nd).all(axis=1))
            overflow = "; a float16 overflow is refused, not clipped: store this encoder's bags as float32"
            what_to_do = overflow if self.features_nd.dtype == np.float16 else "; encode the slide again"
            raise InvalidInputError(f"bag features are not finite in {len(rows)} rows (first: {rows[0]}){what_to_do}")

    def __len__(self) -> int:
        return len(self.features_nd)

    @property
    def tile_size_um(self) -> float | None:
        """Edge of a tile in um; None where the source did not say its mpp or tile size."""
        return self.tile_size_level0_px * self.mpp if self.mpp and self.tile_size_level0_px else None


@dataclass(frozen=True, slots=True, eq=False)
class BagStream:
    """A bag that is written as it is read, so that memory holds some rows of it: as `Bag` in all else."""

    shape: tuple[int, int]
    """(n, d)."""
    dtype: np.dtype
    """float16 or float32."""
    blocks: Iterable[np.ndarray]
    """The n rows in order, (some, d) of `dtype` each; read once, each block before the next."""
    coords_n2: np.ndarray | None
    mpp: float | None = None
    tile_size_px: int = 0
    tile_size_level0_px: int = 0
    magnification: float | None = None

    @classmethod
    def of(cls, bag: Bag) -> BagStream:
        n, d = bag.features_nd.shape
        layout = (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px, bag.magnification)
        return cls((n, d), bag.features_nd.dtype, [bag.features_nd], bag.coords_n2, *layout)

    def checked(self) -> Iterator[np.ndarray]:
        """The blocks. Raises InvalidInputError where one is not finite, of another type or width, or rows lack."""
        rows = 0
        for block in self.blocks:
            Bag(block, None)
            if block.dtype != self.dtype or block.shape[1] != self.shape[1]:
                raise InvalidInputError(
                    f"bag features are {block.dtype} (…, {block.shape[1]}) from row {rows} on, and {self.dtype} "
                    f"(…, {self.shape[1]}) before"
                )
            rows += len(block)
            yield block
        if rows != self.shape[0]:
            raise InvalidInputError(f"bag features end after {rows} of {self.shape[0]} rows")


def _all_finite(values_nd: np.ndarray) -> bool:
    if values_nd.dtype == np.float16 and values_nd.size:
        # All exponent bits set means NaN or infinity. np.isfinite converts each float16: ten times slower.
        return bool((values_nd.view(np.uint16) & 0x7FFF).max() < 0x7C00)
    return bool(np.isfinite(values_nd).all())


@dataclass(frozen=True, slots=True, eq=False)
class CaseCodes:
    """Case codes of one code set: row i of codes_nd (n, d) float32 belongs to case_ids[i], image_ids[i]."""

    case_ids: tuple[str, ...] = field(repr=False)
    codes_nd: np.ndarray = field(repr=False)
    image_ids: tuple[str, ...] = field(default=(), repr=False)
    key: CodeSetKey | None = None

    def __post_init__(self) -> None:
        if self.codes_nd.ndim != 2 or self.codes_nd.dtype != np.float32 or len(self.codes_nd) != len(self.case_ids):
            raise InvalidInputError(
                f"case codes are {self.codes_nd.dtype} of shape {self.codes_nd.shape} for {len(self.case_ids)} cases; "
                "they must be float32 (n cases, d)"
            )
        if not self.image_ids:
            object.__setattr__(self, "image_ids", self.case_ids)
        if len(self.image_ids) != len(self.case_ids):
            raise InvalidInputError(f"{len(self.image_ids)} image ids for {len(self.case_ids)} cases")

    def __len__(self) -> int:
        return len(self.case_ids)


@dataclass(frozen=True, slots=True)
class PairingIssue:
    """Something that pairing met and did not hide: its kind, a sentence, and the cases it concerns."""

    kind: str
    sentence: str = field(repr=False)
    case_ids: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class PairedCodes:
    """Paired codes and outcomes of one snapshot under one split and fold: what heads train on.

    A case may lack a modality or the outcome; the masks say so. Rows without a modality hold NaN there, so that a use
    without the mask shows at once. The outcomes are `y`: of a target with classes or grades the labels.
    """

    cohort: str
    split: str
    fold: int
    target: str
    classes: tuple[str, ...]
    """Classes, grades or labels in their fixed order; labels index into it. () of values and survival."""
    case_ids: tuple[str, ...] = field(repr=False)
    inferior_nd: np.ndarray = field(repr=False)
    """(n, d_I) float32 z_I."""
    superior_nd: np.ndarray = field(repr=False)
    """(n, d_S) float32 z_S."""
    has_inferior: np.ndarray = field(repr=False)
    """(n,) bool."""
    has_superior: np.ndarray = field(repr=False)
    """(n,) bool."""
    labels: np.ndarray = field(repr=False)
    """(n,) int64 class index, -1 where unlabelled; all -1 where a case has no one class."""
    parts: np.ndarray = field(repr=False)
    """(n,) str: train, val or test."""
    inferior_key: CodeSetKey | None = None
    superior_key: CodeSetKey | None = None
    snapshot: int = 0
    """Commit number that the codes were read at."""
    issues: tuple[PairingIssue, ...] = ()
    kind: TargetKind = "classes"
    """Of the target."""
    unit: str = ""
    """Of a value, or of a survival time."""
    outcomes: np.ndarray | None = field(default=None, repr=False)
    """y of a target of kind multilabel, value or survival (`embeddings.outcomes`); None of classes and grades."""

    def __post_init__(self) -> None:
        n = len(self.case_ids)
        if len(set(self.case_ids)) != n:
            raise InvalidInputError("paired codes name a case twice; pairing keeps one row per case")
        for name in ("inferior_nd", "superior_nd", "has_inferior", "has_superior", "labels", "parts"):
            if len(getattr(self, name)) != n:
                raise InvalidInputError(f"paired codes: {name} has {len(getattr(self, name))} rows for {n} cases")
        unknown = set(np.unique(self.parts)) - set(PARTS)
        if unknown:
            raise InvalidInputError(f"paired codes: unknown parts {sorted(unknown)}; use {', '.join(PARTS)}")
        has_class = self.kind in ONE_CLASS_KINDS
        if self.labels.size and (
            self.labels.min() < -1 or self.labels.max() >= (len(self.classes) if has_class else 0)
        ):
            raise InvalidInputError("paired codes: a label lies outside the classes")
        if has_class != (self.outcomes is None):
            raise InvalidInputError(f"paired codes: give the outcomes of a {self.kind} target, and no others")
        if len(self.y) != n:
            raise InvalidInputError(f"paired codes: outcomes has {len(self.y)} rows for {n} cases")
        if self.outcomes is not None:
            names = len(self.classes)
            check_y(self.kind, self.outcomes, n_names=names, what=f"target {self.target}", case_ids=self.case_ids)

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def y(self) -> np.ndarray:
        """The outcomes, by the target's kind as `embeddings.outcomes` says."""
        return self.labels if self.outcomes is None else self.outcomes

    def with_y(self, y: np.ndarray) -> Self:
        """The same pairs with other outcomes, as where some are hidden."""
        return replace(self, labels=y) if self.outcomes is None else replace(self, outcomes=y)

    @property
    def has_label(self) -> np.ndarray:
        """(n,) bool: the outcome is known; of several labels: of one or more."""
        return known_of(self.y)

    @property
    def is_pair(self) -> np.ndarray:
        """(n,) bool: both modalities are there."""
        return self.has_inferior & self.has_superior

    def why_unpaired(self, else_do: str) -> str:
        """What keeps codes that are there from being used: several of a case, or NaN; `else_do` where neither does."""
        told = [issue.sentence for issue in self.issues if issue.kind.startswith(("duplicate ", "NaN "))]
        return "; ".join(told) or else_do

    def rows(self, part: str, *masks: np.ndarray) -> np.ndarray:
        """Row numbers of `part` where all masks hold."""
        keep = self.parts == part
        for mask in masks:
            keep = keep & mask
        return np.flatnonzero(keep)


def as_float32_codes(values: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """(n, d) float32, contiguous; raises InvalidInputError where a finite value overflows float32."""
    source = np.asarray(values)
    with np.errstate(over="ignore"):
        codes_nd = np.ascontiguousarray(source, dtype=np.float32)
    if (np.isinf(codes_nd) & np.isfinite(source)).any():
        raise InvalidInputError("codes overflow float32; scale them before the import")
    return codes_nd
