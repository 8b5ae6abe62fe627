"""A head in Python: fitted on a training set, applied to new codes, kept in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError
from guidestore.embeddings.interchange.limits import MOST_COLUMNS
from guidestore.embeddings.outcomes import KINDS, ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.runs import REFERENCE_FACTS, median_grade
from guidestore.flows.guiding.recipes import (
    MARGINS_GUIDANCE,
    PLUGS,
    BaselinesRecipe,
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    ReferenceRecipe,
    RowsRecipe,
    TransferRecipe,
)
from guidestore.flows.library.arguments import public
from guidestore.flows.library.data import Data, told_kind
from guidestore.flows.library.frames import Codes, matrix_of
from guidestore.flows.work.printable import printable
from guidestore.heads.checks import check_choice, check_seed
from guidestore.heads.choice import Choice
from guidestore.heads.input_rows import GUIDED_PLUS_I, MARGINS, PLUG, Arm, input_row
from guidestore.heads.outcomes import can_be_said, n_outputs
from guidestore.heads.references.train import references_of
from guidestore.heads.registry import build_decoder_of, build_student, decoder_choice, guidance_choice

type Model = Any
"""A name or preset, ``module:Class``, a class, or an object: of heads/protocol.py, scikit-learn or torch."""

CARD, FORMAT = "head.json", 1
_ROLE = re.compile(r"[a-z][a-z_]{0,40}\Z")
_OWN_ROWS = {MARGINS_GUIDANCE: MARGINS, **dict.fromkeys(PLUGS, PLUG)}
"""Guidance that is a recipe of its own -> its row."""


@public
class Head:
    """A fitted head: G and D_c, or what its row has instead. Made by `fit`, `load` and nothing else.

    It foretells `target`, of that `kind`, from z_I (n, d_I) float32 alone, but for the rows S and S+I, which read z_S
    (n, d_S) too.

    >>> head
    Head G(I)+I (ridge, logistic) for digits/digit: 10 classes from digits/blurred/pixels@..., fold cv5/0, seed 0
    """

    def __init__(self, card: Mapping[str, Any], components: Mapping[str, Any], data: Data | None = None) -> None:
        """card: what `save` writes. components: role -> (config, tensors). data: what it was fitted on."""
        self._card, self._components, self._data = dict(card), dict(components), data
        self.row: str = card["row"]
        self.target: str = card["target"]
        self.kind: TargetKind = card["kind"]
        self.unit: str = card["unit"]
        """Of a value, or of a survival time."""
        self.classes: tuple[str, ...] = tuple(card["classes"])
        """Classes, grades or labels in their order; () of a value and survival."""
        self.seed: int = card["seed"]
        self.facts: dict[str, float] = dict(card["facts"])
        """What the fit found, by name (decoder_best_epoch, guidance_alpha, …)."""

    def __repr__(self) -> str:
        card = self._card
        models = ", ".join(filter(None, (card["guidance"], card["decoder"])))
        return printable(
            f"Head {self.row} ({models}) for {card['cohort']}/{self.target}: {told_kind(self.kind, self.classes)} from "
            f"{card['inferior']}, fold {card['split']}/{card['fold']}, seed {self.seed}"
        )

    def predict_proba(self, z_inferior: Codes, z_superior: Codes | None = None) -> np.ndarray:
        """(n, k) float64 probabilities in the order of `classes`: rows sum to 1; of several labels each is its own.

        z_inferior: (n, d_I) numbers, of the encoder that the head was fitted on: an array, a tensor, or a table, whose
        columns are taken by their names where those of the head have names. z_superior: (n, d_S), of rows S and S+I
        alone. Raises InvalidInputError on another width, on what is not finite, where z_S is missing, and for a value
        or survival, which have none.

        >>> X, y, ids = data.xy("test")
        >>> head.predict_proba(X).shape
        (360, 10)
        """
        if not self.classes:
            raise InvalidInputError(
                f"target {self.target} is of kind {self.kind} and has no probabilities; use predict"
            )
        return self._said(z_inferior, z_superior)

    def _said(self, z_inferior: Codes, z_superior: Codes | None) -> np.ndarray:
        """(n, k) float64, by the kind of target as heads.metrics.metric has it."""
        from guidestore.heads.prediction import predict_row

        card = self._card
        inferior_nd = matrix_of(z_inferior, "z_inferior", card["inferior_dim"], card["inferior_columns"])
        superior_nd = None
        if input_row(self.row).needs_superior and z_superior is not None:
            superior_nd = matrix_of(z_superior, "z_superior", card["superior_dim"], card["superior_columns"])
            if len(superior_nd) != len(inferior_nd):
                raise InvalidInputError(
                    f"z_inferior has {len(inferior_nd)} rows and z_superior {len(superior_nd)}; give one of each a case"
                )
        return predict_row(self.row, self._components, inferior_nd, superior_nd, horizon=self._reference)

    @property
    def _reference(self) -> float:
        return self.facts.get(REFERENCE_FACTS.get(self.kind, ""), math.nan)

    def predict(self, z_inferior: Codes, z_superior: Codes | None = None) -> np.ndarray:
        """What the head foretells of n cases from z_inferior (n, d_I), and z_superior (n, d_S) where its row reads it.

        Classes: (n,) int64, the index in `classes` of the likeliest, of equals the first; grades: that of the one in
        the middle. Several labels: (n, L) float64 probabilities. A value: (n,) float64 in `unit`. Survival: (n,)
        float64, a risk, higher is worse.

        >>> head.classes[head.predict(X)[0]] in head.classes
        True
        """
        told = self._said(z_inferior, z_superior)
        if self.kind in ONE_CLASS_KINDS:
            return median_grade(told) if self.kind == "ordinal" else told.argmax(axis=1)
        return told if self.kind == "multilabel" else told[:, 0]

    def score(self, part: Literal["train", "val", "test"] = "test", data: Data | None = None) -> dict[str, float]:
        """Metric -> value on the labelled cases of a part, of the metrics that the kind of target has
        (guidestore.heads.metrics: auroc, balanced_accuracy, …, recall:CLASS); what is not defined is left out.

        data: None for what the head was fitted on. Choose on val; test says something once: unlike `Store.guide` this
        look at it is not counted, and there is no control beside it. Raises InvalidInputError.

        >>> round(head.score("val")["auroc"], 1)
        0.9
        """
        from guidestore.heads.metrics import evaluate

        data = self._data if data is None else data
        if data is None:
            raise InvalidInputError(
                "a head that was loaded has no data of its own: head.score(part, data=store.pair(…))"
            )
        of = data.paired
        if (of.target, of.kind, of.classes) != (self.target, self.kind, self.classes):
            raise InvalidInputError(
                f"the data are of target {of.target} ({', '.join(of.classes) or of.kind}), and the head foretells "
                f"{self.target} ({', '.join(self.classes) or self.kind}); pair the same target"
            )
        self._check_codes(data)
        rows_m = data.rows_of(part, self.row)
        if not len(rows_m):
            raise InvalidInputError(f"no labelled case of {part} has what row {self.row} reads")
        paired = data.paired
        superior_nd = paired.superior_nd[rows_m] if input_row(self.row).needs_superior else None
        said = self._said(paired.inferior_nd[rows_m], superior_nd)
        return evaluate(paired.y[rows_m], said, self.classes, kind=self.kind, reference=self._reference)

    def _check_codes(self, data: Data) -> None:
        """Raises InvalidInputError where the codes are another encoder's: of the same width they would be read."""
        keys = {"inferior": data.paired.inferior_key}
        if input_row(self.row).needs_superior:
            keys["superior"] = data.paired.superior_key
        for side, key in keys.items():
            if key is not None and key.encoder_digest != self._card[f"{side}_encoder"]:
                raise InvalidInputError(
                    f"the data's {side} codes are {key}, and the head was fitted on {self._card[side]}; pair those"
                )

    def save(self, folder: Path | str) -> Path:
        """Writes the head as a new folder, which appears whole or not at all: head.json, and a .safetensors a part.

        No code of a case is in it but where the decoder or G holds those of train cases (knn, retrieval, prototype, …).
        Raises InvalidInputError where the folder is there already, or the disk refuses.

        >>> folder = head.save(scratch / "head")
        >>> sorted(file.name for file in folder.iterdir())
        ['decoder.safetensors', 'guidance.safetensors', 'head.json']
        """
        from safetensors.numpy import save

        folder = Path(folder)
        if folder.exists():
            raise InvalidInputError(f"{folder} is there already; name a new folder, or remove it first")
        files = {f"{role}.safetensors": save(dict(tensors)) for role, (_, tensors) in self._components.items()}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        card = {**self._card, "format": FORMAT, "files": digests}
        files[CARD] = (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode()
        scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            scratch.mkdir(parents=True)
            for name, content in files.items():
                (scratch / name).write_bytes(content)
            scratch.rename(folder)
        except OSError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            raise InvalidInputError(f"{folder} cannot be written ({error.strerror}); name another folder") from error
        return folder


@public
def fit(
    data: Data,
    guidance: Model = "ridge",
    decoder: Model = "",
    row: str = "",
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Head:
    """Fits one head on train, chosen on val; test is not read. Nothing is stored, and no control is run: whether
    guidance helps is what `Store.guide` says.

    guidance: G, a name or preset (autoencoder, ridge, pls, …), ``module:Class``, a class or an object (of
    heads/protocol.py, a scikit-learn regressor, a torch module); or margins, plug or plug-logistic, which bring their
    own decoders.
    decoder: D_c, likewise; of row T(I) the name of the student (kernel, logistic, …), of R(I) that of the reference;
    '': logistic, or ridge or mlp where the kind of target or the row asks for it. row: S+I, S, I, G(I), G(I)+I, KD(I),
    GD(I), E(I), T(I), R(I), M(I) or P(I); '': G(I)+I, or that of margins and plugs. seed: of the draws. device: where
    networks train. Raises InvalidInputError: an unknown name, too few cases, a fit that diverged.

    >>> head = gs.fit(data, guidance="ridge", decoder="logistic", row="G(I)+I", seed=0)
    >>> head.predict_proba(data.xy("val")[0]).sum(axis=1).round(6).min()
    np.float64(1.0)
    """
    from guidestore.flows.guiding.jobs import HeadJob, train_jobs
    from guidestore.flows.work.devices import one_device
    from guidestore.flows.work.threads import one_thread

    check_seed(seed)
    g = guidance_choice(guidance)
    row = row or _OWN_ROWS.get(g.name, GUIDED_PLUS_I)
    asked = decoder if decoder != "" else _usual(row, data.paired.kind)  # an ensemble has no truth before it is fitted
    recipe = _recipe(row, seed, g, asked, data)
    arm = Arm(row)
    job = HeadJob(data.paired, recipe, {arm: ""})
    with one_thread():
        ((trained, *_),) = train_jobs([job], test=False, device=one_device(device, "heads"))
    if trained.status != "ok":
        raise InvalidInputError(f"row {row} diverged: {trained.message}")
    paired = data.paired
    card = {
        "row": row,
        "cohort": paired.cohort,
        "split": paired.split,
        "fold": paired.fold,
        "snapshot": paired.snapshot,
        "target": paired.target,
        "kind": paired.kind,
        "unit": paired.unit,
        "classes": list(paired.classes),
        "inferior": str(paired.inferior_key or ""),
        "inferior_encoder": paired.inferior_key.encoder_digest if paired.inferior_key else "",
        "inferior_dim": paired.inferior_nd.shape[1],
        "inferior_columns": list(data.columns["inferior"]),
        "superior": str(paired.superior_key or ""),
        "superior_encoder": paired.superior_key.encoder_digest if paired.superior_key else "",
        "superior_dim": paired.superior_nd.shape[1],
        "superior_columns": list(data.columns["superior"]),
        "guidance": trained.guidance,
        "decoder": trained.decoder,
        "seed": seed,
        "facts": {name: float(value) for name, value in trained.facts.items() if np.isfinite(value)},
        "configs": {role: config for role, (config, _) in trained.components.items()},
    }
    return Head(card, trained.components, data)


def _usual(row: str, kind: TargetKind) -> str:
    """What is fitted where no decoder is named."""
    of = input_row(row)
    if of.trainer == "references":
        return references_of(kind)[0]
    if of.trainer == "baselines" and not of.averaged:  # a student of distillation
        return "mlp"
    if kind in REFERENCE_FACTS or (of.trainer == "transfer" and kind != "classes"):
        return "ridge"
    return "logistic"


def _recipe(row: str, seed: int, guidance: Choice, decoder: Model, data: Data) -> HeadRecipe:
    """What trains the row, without controls. Raises InvalidInputError."""
    trainer = input_row(row).trainer
    if trainer == "margins":
        return MarginsRecipe(seed, 0)
    if trainer == "plug":
        return PlugRecipe(seed, 0, PLUGS.get(guidance.name, "ridge"))
    if trainer == "transfer":
        build_student(str(decoder))
        return TransferRecipe(seed, Choice.of(str(decoder)), noisy_labels=False, permutations=0)
    if trainer == "references":
        check_choice(decoder, "reference", references_of(data.paired.kind))
        return ReferenceRecipe(seed, str(decoder))
    of_decoder = decoder_choice(decoder)
    # A wrong name trains nothing.
    build_decoder_of(data.paired.kind, of_decoder.name, target=data.paired.target, **of_decoder.params)
    if trainer == "baselines":
        return BaselinesRecipe((row,), "matched", seed, of_decoder, 0, guidance)
    return RowsRecipe("matched", seed, guidance, of_decoder, 0)


@public
def load(folder: Path | str) -> Head:
    """The head that `Head.save` wrote; nothing is unpickled, and every file is compared with its digest.

    Raises InvalidInputError where it is no such folder, CorruptArtifactError where a file is missing or another.

    >>> again = gs.load(scratch / "head")
    >>> (again.predict_proba(X) == head.predict_proba(X)).all()
    np.True_
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as tensors_of

    folder = Path(folder)
    card = _read_card(folder)
    components = {}
    for role, config in card["configs"].items():
        name = f"{role}.safetensors"
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != card["files"].get(name):
            raise CorruptArtifactError(f"{path} is missing or not the file that was saved; save the head again")
        try:
            components[role] = (config, tensors_of(content))
        except SafetensorError as error:
            raise CorruptArtifactError(f"{path} holds no tensors ({error}); save the head again") from error
    head = Head(card, components)
    told = head._said(np.zeros((1, card["inferior_dim"])), np.zeros((1, card["superior_dim"])))  # its parts fit
    kind: str = card["configs"]["decoder"].get("kind", "classes")
    of_kind = kind == head.kind or (kind, head.kind) == ("classes", "ordinal")  # most decoders read grades as classes
    enough = head.kind == "survival" or told.shape[1] == n_outputs(head.kind, len(head.classes))
    if not (of_kind and enough and can_be_said(told, head.kind)):
        raise CorruptArtifactError(
            f"{folder / CARD} says that the head foretells {told_kind(head.kind, head.classes)}, and its decoder "
            "foretells something else; save the head again"
        )
    return head


_FIELDS: dict[str, type] = {
    **dict.fromkeys(("row", "cohort", "split", "target", "kind", "unit", "guidance", "decoder"), str),
    **dict.fromkeys(("inferior", "inferior_encoder", "superior", "superior_encoder"), str),
    **dict.fromkeys(("fold", "snapshot", "inferior_dim", "superior_dim", "seed"), int),
    **dict.fromkeys(("classes", "inferior_columns", "superior_columns"), list),
    "facts": dict,
    "configs": dict,
    "files": dict,
}


def _read_card(folder: Path) -> dict[str, Any]:
    file = folder / CARD
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{folder} is no saved head: {CARD} cannot be read; name a folder of head.save"
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InvalidInputError(f"{file} is of no format that this guidestore reads ({FORMAT}); save the head again")
    card = {"inferior_columns": [], "superior_columns": [], **card}  # a head that was saved before has none
    wrong = next((name for name, kind in _FIELDS.items() if type(card.get(name)) is not kind), None)
    for name in ("classes", "inferior_columns", "superior_columns"):
        texts: list[Any] = card.get(name) or []
        if wrong is None and not (all(isinstance(text, str) for text in texts) and len(set(texts)) == len(texts)):
            wrong = name
    if wrong is None and not all(isinstance(fact, float) for fact in card["facts"].values()):
        wrong = "facts"
    if wrong is None and card["kind"] not in KINDS:
        wrong = "kind"
    if wrong is None:
        wrong = next((name for name in ("inferior_dim", "superior_dim") if not 1 <= card[name] <= MOST_COLUMNS), None)
    for side in ("inferior", "superior"):
        if wrong is None and len(card[f"{side}_columns"]) not in (0, card[f"{side}_dim"]):
            wrong = f"{side}_columns"
    if wrong is None and "decoder" not in card["configs"]:
        wrong = "configs"
    if wrong is None and not all(_ROLE.match(role) and isinstance(of, dict) for role, of in card["configs"].items()):
        wrong = "configs"
    if wrong is not None:
        raise InvalidInputError(f"{file}: {wrong} is missing or not what a head has; save the head again")
    return {name: card[name] for name in _FIELDS}
