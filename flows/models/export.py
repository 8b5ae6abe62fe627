"""A stored run as one folder that predicts without the store: encoder, G, D_c, preprocessing, and where they came from.

The weights are the store's own files. The folder appears whole or not at all.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.actor import versions
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.medians import fills_medians
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.tables import read_verified
from guidestore.embeddings.types import CodeSetKey
from guidestore.encoders.input_kind import input_kind
from guidestore.flows.encoding.corrected import corrected_in
from guidestore.flows.encoding.stored_encoders import StoredEncoder, StoredEncoders
from guidestore.flows.models import card as cards
from guidestore.flows.models.card import FORMAT
from guidestore.flows.models.exported import ENCODER, HEAD, run_onnx
from guidestore.flows.models.predict import inferior_key, medians_of
from guidestore.flows.work.collecting import no_collection
from guidestore.flows.work.new_folder import new_folder
from guidestore.flows.work.threads import one_thread
from guidestore.heads.input_rows import input_row
from guidestore.warehouse.runs import run_of

HEAD_TOLERANCE = 1e-6
"""Of a probability, between head.onnx and the head itself: all but trees, which add up in float32, agree to 1e-12."""
ENCODER_TOLERANCE = 1e-4
"""Of a code, as a share of the largest: two runtimes order float32 sums of some thousand terms otherwise."""
CHECKED_CODES = 64
"""Stored codes that head.onnx is compared on."""

INTENDED_USE = (
    "Research. It predicts {target} ({classes}) from {modality} alone, for cases like those of cohort {cohort}, images "
    "prepared as `preprocessing` says."
)
LIMITS = (
    "Not a medical device, and not validated for any clinical decision.",
    "Scores are of the cohort's own val and test cases; other scanners, sites or patients may be worse.",
    "Whether guidance helped is a question to the store: `guidestore evaluate`, with the shuffled control.",
    "Probabilities are as the decoder gives them; unless it is `calibrated` they are no frequencies.",
    "The graphs check nothing: input that is not finite, or prepared otherwise, gives numbers without meaning.",
    "Weights trained on patients may tell something about them; a `guidestore purge` does not reach this copy.",
)
TRAIN_CODES = "The weights of {names} hold codes of the train cases themselves: treat the folder as patient data."


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. notes: sentences about what the folder lacks or holds."""

    folder: Path
    run: str
    files: Mapping[str, int]
    """Name -> size in bytes."""
    notes: tuple[str, ...]


def export_model(store: EmbeddingStore, run: str, output: Path | str, *, allow_train_codes: bool = False) -> Exported:
    """Writes the folder `output` for `run` (an alias, or 8 digits or more of its id).

    Raises InvalidInputError, and writes nothing, where `output` is there and not empty; where the run needs the
    superior image, is a control or diverged; where a part has no ONNX form, or its ONNX does not give the same numbers;
    and where its weights hold codes of train cases, unless `allow_train_codes`.
    """
    output = Path(output)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InvalidInputError(f"{output} is there already; name a new folder, or remove it first")
    snapshot = store.snapshot()
    trained = run_of(snapshot, store.find_run(run))
    _check_run(trained)
    with no_collection(), one_thread():  # torch's exporter: 1 of 11 s
        files, card = _content(store, snapshot, trained, run, allow_train_codes)
    with new_folder(output) as staged:
        for name, content in (files | {cards.NAME: _json(card)}).items():
            (staged / name).write_bytes(content)
    sizes = {name: len(content) for name, content in sorted(files.items())}
    return Exported(output, trained.id, sizes, tuple(card["notes"]))


def _check_run(run: Run) -> None:
    name = f"run {run.id[:12]}"
    if input_row(run.row).needs_superior:
        raise InvalidInputError(
            f"{name} is of row {run.row}, which needs the superior image; a new case has none, so export a run of "
            "row G(I)+I, G(I) or I"
        )
    if run.control:
        raise InvalidInputError(
            f"{name} is a control ({run.control}), made to be beaten; export the run that it stands beside"
        )
    if run.status != "ok":
        raise InvalidInputError(f"{name} has no weights: its training {run.status}; export another run")


def _content(
    store: EmbeddingStore, snapshot: Snapshot, run: Run, asked: str, allow_train_codes: bool
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """File name -> bytes, and the card, which names them with their digests."""
    from guidestore.heads.onnx_graph.head import head_onnx, parts_with_train_codes
    from guidestore.heads.prediction import predict_row

    files: dict[str, bytes] = {}
    components: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}
    for role, artifact in run.weights.items():
        tensors, kept = snapshot.weights(artifact)
        components[role] = (kept.meta["config"], tensors)
        files[f"{role}.safetensors"] = read_verified(snapshot.storage, kept.files[0])
    with_train_codes = parts_with_train_codes(components)
    if with_train_codes and not allow_train_codes:
        raise InvalidInputError(
            f"the weights of {' and '.join(with_train_codes)} hold codes of the train cases themselves, which would "
            "leave the store with the model; export another head, or say --allow-train-codes where those may travel"
        )
    notes = [TRAIN_CODES.format(names=" and ".join(with_train_codes))] if with_train_codes else []
    notes += corrected_in(snapshot, [run])
    key = inferior_key(snapshot, run)
    files[HEAD] = head_onnx(run.row, components, key.code_dim)
    medians_d = medians_of(store, run, key) if fills_medians(snapshot, key) else None
    codes_nd = snapshot.codes(key).codes_nd
    codes_nd = codes_nd[np.isfinite(codes_nd).all(axis=1)][:CHECKED_CODES]
    expected_nk = predict_row(run.row, components, codes_nd)
    difference = np.abs(run_onnx(files[HEAD], codes_nd, HEAD) - expected_nk).max()
    if not difference <= HEAD_TOLERANCE * max(1.0, float(np.abs(expected_nk).max())):  # values have units
        raise _differs(HEAD, difference)
    checked: dict[str, Any] = {HEAD: {"stored_codes": len(codes_nd), "largest_difference": float(difference)}}
    encoders = _stored_encoders(snapshot, key)
    more, encoder_check, encoder_notes = _encoder_files(snapshot, encoders[0])
    files |= more
    notes += encoder_notes
    words = (
        [] if medians_d is None else ["A value of z_inferior that is missing: its number in `medians` of card.json."]
    )
    card = _card(snapshot, run, key, asked) | {
        "guidance": _part(run.guidance, components.get("guidance")),
        "decoder": _part(run.decoder, components["decoder"]),
        "holds_train_codes": with_train_codes,
        "encoders": [stored.card() for stored in encoders],
        "preprocessing": [stored.in_words() for stored in encoders] + words,
        "medians": None if medians_d is None else medians_d.tolist(),
        "inputs": _inputs(encoders[0], key, ENCODER in files),
        "checked": checked | encoder_check,
        "notes": notes,
    }
    files["README.md"] = _readme(card, ENCODER in files).encode()
    card["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    }
    return files, card


def _differs(name: str, difference: float) -> InvalidInputError:
    return InvalidInputError(
        f"{name} would differ from the model by {difference:.1e}, more than rounding, so nothing was written; report "
        "this as a bug of guidestore"
    )


# Encoders ----------------------------------------------------------------------------------------------------------


def _stored_encoders(snapshot: Snapshot, key: CodeSetKey) -> list[StoredEncoder]:
    """That of z_I, and of the patch codes it reads."""
    encoders = StoredEncoders(snapshot)
    stored = encoders.stored(key.encoder_digest)
    patches = stored.spec.preprocessing.get("patch_encoder_digest")
    return [stored, encoders.stored(patches)] if patches else [stored]


def _encoder_files(snapshot: Snapshot, stored: StoredEncoder) -> tuple[dict[str, bytes], dict[str, Any], list[str]]:
    """Files of the encoder of z_I, what was compared, and notes about what else is needed."""
    spec = stored.spec
    if stored.is_imported:
        return {}, {}, [f"Codes of {spec.name} were imported: make them as they were made, guidestore cannot."]
    if not stored.is_trained:
        weights = "" if not spec.weights_sha256 else f" and its weights (sha256 {spec.weights_sha256[:12]})"
        return {}, {}, [f"The encoder {spec.name} is not in the folder: making codes needs guidestore{weights}."]

    from guidestore.encoders.onnx_export import codes_of, encoder_onnx, example_pixels
    from guidestore.encoders.trainable import TrainedEncoder

    encoder = StoredEncoders(snapshot).build(stored, "cpu", None)
    assert isinstance(encoder, TrainedEncoder)  # noqa: S101  (for the type checker)
    content, pixels = encoder_onnx(encoder), example_pixels(encoder)
    expected_nd = codes_of(encoder, pixels)
    difference = float(np.abs(run_onnx(content, pixels, ENCODER) - expected_nd).max())
    if not difference <= ENCODER_TOLERANCE * max(1.0, float(np.abs(expected_nd).max())):
        raise _differs(ENCODER, difference)
    (entry, *_) = snapshot.entries(kind="weights", path=f"objects/weights/{spec.weights_sha256}.safetensors")
    files = {ENCODER: content, "encoder.safetensors": read_verified(snapshot.storage, entry.files[0])}
    checked = {ENCODER: {"made_up_inputs": len(pixels), "largest_difference": difference}}
    patches = spec.preprocessing.get("patch_encoder")
    notes = (
        [f"The patch encoder {patches} is not in the folder: making tile codes needs guidestore."] if patches else []
    )
    return files, checked, notes


def _inputs(stored: StoredEncoder, key: CodeSetKey, with_encoder: bool) -> dict[str, Any]:
    """Names, types and shapes of what the graphs take and give; n items."""
    inputs: dict[str, Any] = {HEAD: {"z_inferior": f"float32 (n, {key.code_dim})", "gives": "probabilities float64"}}
    if with_encoder:
        pixels = input_kind(stored.spec.input_kind).graph_input(stored.spec.preprocessing, stored.config)
        inputs[ENCODER] = {"pixels": pixels, "gives": "z_inferior float32"}
    return inputs


# Card and folder ---------------------------------------------------------------------------------------------------


def _part(name: str, component: tuple[dict[str, Any], Any] | None) -> dict[str, Any] | None:
    return {"name": name, "config": component[0]} if component else None


def _card(snapshot: Snapshot, run: Run, key: CodeSetKey, asked: str) -> dict[str, Any]:
    """What the store knows of the run."""
    metrics: dict[str, dict[str, float]] = {}
    for row in snapshot.rows("metrics").to_pylist():
        if row["run"] == run.id:
            metrics.setdefault(row["part"], {})[row["metric"]] = row["value"]
    looks = sum(row["run"] == run.id and row["part"] == "test" for row in snapshot.rows("looks").to_pylist())
    scored = any(row["run"] == run.id and row["part"] == "test" for row in snapshot.rows("predictions").to_pylist())
    told = ", ".join(run.classes) or " in ".join(filter(None, (run.kind, run.target_unit)))
    words = {"target": run.target, "classes": told, "modality": key.modality, "cohort": key.cohort}
    return {
        "format": FORMAT,
        "name": run.id[:12] if run.id.startswith(asked) else asked,
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "run": run.id,
        "cohort": run.cohort,
        "target": run.target,
        "classes": list(run.classes),
        **({} if run.kind == "classes" else {"kind": run.kind, "unit": run.target_unit}),
        "intended_use": INTENDED_USE.format(**words),
        "limits": list(LIMITS),
        "inferior": {
            "code_set": str(key),
            "modality": key.modality,
            "encoder": key.encoder,
            "encoder_digest": key.encoder_digest,
            "trained_on": str(key.trained_on),
            "code_dim": key.code_dim,
        },
        "superior": {"code_set": str(run.superior or "")},
        "trained_on": ", ".join(map(str, run.trained_on)),
        **{name: getattr(run, name) for name in ("split", "fold", "row", "mode", "seed", "n_train", "snapshot")},
        "exported_at_snapshot": snapshot.version,
        "metrics": metrics,
        "test": {"scored": scored, "looks": looks},
        "facts": dict(run.training),
        "labelled": run.labelled,
        "trained_at": run.created_at,
        "versions": {"training": dict(run.versions), "export": versions()},
        "weights": dict(run.weights),
    }


def _readme(card: Mapping[str, Any], with_encoder: bool) -> str:
    encoder = card["inferior"]["encoder"]
    if with_encoder:
        start = (
            'encoder = InferenceSession("encoder.onnx", providers=["CPUExecutionProvider"])\n'
            f'pixels = np.load("pixels.npy")  # {card["inputs"][ENCODER]["pixels"]}\n'
            '(z,) = encoder.run(["z_inferior"], {"pixels": pixels})\n'
        )
    else:
        start = f'z = np.load("codes.npy")  # {card["inputs"][HEAD]["z_inferior"]}, by encoder {encoder}\n'
    words = "".join(f"- {text}\n" for text in card["preprocessing"])
    limits = "".join(f"- {text}\n" for text in (*card["limits"], *card["notes"]))
    return f"""# {card["name"]}: {card["target"]} from {card["inferior"]["modality"]}

{card["intended_use"]} Where it came from, its scores and the sha256 of every file: `card.json`.

```python
import json
import numpy as np
from onnxruntime import InferenceSession

with open("card.json", encoding="utf-8") as file:
    classes = json.load(file)["classes"] or ["said"]
{start}head = InferenceSession("head.onnx", providers=["CPUExecutionProvider"])
(p,) = head.run(["probabilities"], {{"z_inferior": z}})
print([{{c: float(v) for c, v in zip(classes, row)}} for row in p])
```

With guidestore, from images: `guidestore predict --model THIS_FOLDER FILE...`, which also verifies the files.

Before the graphs:

{words}
Limits:

{limits}"""


def _json(card: Mapping[str, Any]) -> bytes:
    return (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode()
