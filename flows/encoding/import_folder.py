"""Folders of other tools -> the store: bags, codes of slides, codes of cases. Each slide is a commit, so it resumes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.folders import listed, nested_in, within
from guidestore.embeddings.interchange.layout import READERS, Header, PeerSet, RowIds
from guidestore.embeddings.interchange.matching import Match, Slides, bare, match, read_renames, read_slides
from guidestore.embeddings.interchange.tiles import bag_notes
from guidestore.embeddings.leaks import labels_by_target, target_among
from guidestore.embeddings.pixels import GIVEN
from guidestore.embeddings.recipe import code_artifact
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.transaction import Transaction
from guidestore.embeddings.types import (
    IMPORTED_BAGS,
    IMPORTED_CODES,
    UNKNOWN_TRAINING,
    BagStream,
    CaseCodes,
    CodeSetKey,
    EncoderSpec,
    FoldScope,
    check_name,
)
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.committing import register_encoder
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.import_settings import FolderSettings
from guidestore.flows.encoding.seen import seen_by
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.reporting import Progress, counted, no_progress

LAZYSLIDE = "lazyslide"
"""Its slides are folders, whose files nest."""
FALLBACK = "plain"
"""The layout that is thought of where no tool's is recognised."""


@dataclass
class FolderReport:
    """What an import of a folder did, one of each code set."""

    tool: str
    place: str
    code_set: CodeSetKey
    bags: int = 0
    """Slides, or codes of cases."""
    cases: int = 0
    new: int = 0
    replaced: int = 0
    tiles: int = 0
    blank: list[str] = field(default_factory=list)
    """Slides on which the tool found no tissue."""
    failed: dict[str, str] = field(default_factory=dict)
    """Slide -> the sentence why it was not imported."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Looked:
    """An item whose headers were read, and what is decided of it."""

    match: Match
    header: Header
    mpp: float | None
    pixels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every set of a folder is imported as."""

    cohort: str
    modality: str
    encoder: str
    """Where the folder does not say it."""
    version: str
    trained_on: FoldScope
    supersede: bool
    settings: FolderSettings


def import_folder(
    store: EmbeddingStore,
    folder: Path,
    settings: FolderSettings,
    *,
    cohort: str,
    modality: str,
    encoder: str = "",
    version: str = "1",
    trained_on: FoldScope = UNKNOWN_TRAINING,
    ids: Path | None = None,
    id_column: str = "",
    supersede: bool = False,
    progress: Progress = no_progress,
) -> list[FolderReport]:
    """Imports every set of features in `folder`, or that of `encoder`. Headers are all read before anything is written.

    A slide whose values cannot be read is in `failed`, and the others go on. The same again is a no-op; other files for
    a slide that is there are refused, or take its place with `supersede`. Raises InvalidInputError, InvalidNameError;
    then nothing is imported.
    """
    check_name(modality, "modality")
    found = _sets(folder, settings, RowIds(ids, id_column or "case_id", settings.order))
    sets = _chosen(folder, found, encoder)
    snapshot = store.snapshot()
    cohort = snapshot.first_name(check_name(cohort, "cohort"))
    if trained_on.kind == "fold":
        trained_on = replace(trained_on, cohort=snapshot.first_name(trained_on.cohort))
    own = _own_slides(snapshot, cohort, modality)
    slides = read_slides(settings.slides, id_column) if settings.slides else own
    slides = replace(slides, mpps={**own.mpps, **slides.mpps})
    asked = _Asked(cohort, modality, encoder, version, trained_on, supersede, settings)
    imports = [_Import(store, snapshot, asked, one, _or_own(slides, one), own) for one in sets]
    _check_apart(imports)
    for one in imports:
        one.look(progress)
    imports[0].report.notes += _nested_notes(folder, found)
    if not settings.dry_run:
        for one in imports:
            one.write(progress)
    return [one.report for one in imports]


def pool_tiles(
    store: EmbeddingStore, reports: Sequence[FolderReport], progress: Progress = no_progress
) -> list[CodeSetKey]:
    """The mean of each case's tiles, of all sets of bags that were imported, as codes of `tile_mean`."""
    keys = []
    for report in reports:
        key = report.code_set
        if key.kind == "bag":
            patch_encoder = key.name.encoder_text
            asked = EncodeSettings(
                cohort=key.cohort, modality=key.modality, encoder="tile_mean", patch_encoder=patch_encoder
            )
            keys += encode(store, asked, progress).code_sets
    return keys


def _sets(folder: Path, settings: FolderSettings, ids: RowIds) -> list[PeerSet]:
    """What of the folder is of one layout. Raises InvalidInputError where it is of none, or of two."""
    if settings.layout:
        sets = READERS.load(settings.layout)().sets(folder, ids)
        if not sets:
            tool = READERS.load(settings.layout).tool
            raise InvalidInputError(
                f"{folder} holds nothing in the layout of {tool}; see docs/peers.md for what it reads"
            )
        return sets
    by_tool: dict[str, list[PeerSet]] = {}
    for name in READERS.names():
        if name != FALLBACK:
            reader = READERS.load(name)()
            found = reader.sets(folder, ids)
            if found:
                by_tool[reader.tool] = found
    if len(by_tool) > 1:
        raise InvalidInputError(
            f"{folder} holds features of {' and of '.join(by_tool)}; import one of its folders, or name the --layout"
        )
    if by_tool:
        return next(iter(by_tool.values()))
    sets = READERS.load(FALLBACK)().sets(folder, ids)
    if not sets:
        raise InvalidInputError(
            f"{folder} holds no features that are known: no tool's layout, and no .h5, .pt, .npy or .npz; "
            "docs/peers.md has "
            "a table of layouts"
        )
    return sets


def _chosen(folder: Path, sets: Sequence[PeerSet], encoder: str) -> list[PeerSet]:
    """Those of `encoder`, or all that say theirs; a name that nothing says is `encoder`'s."""
    named = sorted({one.encoder for one in sets if one.encoder})
    if encoder and named:
        chosen = [one for one in sets if one.encoder == encoder]
        if chosen:
            return chosen
        if len(named) == 1 and not _is_name(named[0]):
            return [one for one in sets if one.encoder]
        raise InvalidInputError(f"{folder} holds features of {listed(named)}, and none of {encoder}; name one of them")
    unnamed = [one for one in sets if not one.encoder]
    if unnamed and not encoder:
        raise InvalidInputError(
            f"{folder} ({READERS.load(unnamed[0].layout).tool}) does not say which encoder made the features: give "
            "--encoder"
        )
    settings = {(one.kind, one.of) for one in unnamed}
    if len(settings) > 1:
        raise InvalidInputError(
            f"{folder} holds {listed([one.place for one in unnamed])}, some of tiles and some of slides; import one "
            "folder"
        )
    wrong = next((name for name in named if not _is_name(name)), None)
    if wrong is not None:
        raise InvalidInputError(
            f"{folder} calls its encoder {wrong!r}, which cannot be a name: give one with --encoder"
        )
    return list(sets)


def _is_name(text: str) -> bool:
    try:
        return bool(check_name(text, "encoder"))
    except InvalidNameError:
        return False


def _or_own(slides: Slides, peers: PeerSet) -> Slides:
    """What is known of slides; of their cases what the tool itself says, where nothing else does."""
    return slides if slides.cases or not peers.cases else replace(slides, cases=peers.cases, source="the tool's table")


def _nested_notes(folder: Path, sets: Sequence[PeerSet]) -> list[str]:
    """A note on files that lie deeper than the layout is read, such as those of a folder for each case."""
    read = {path for one in sets if one.layout != LAZYSLIDE for item in one.items for path in item.files}
    nested = [within(folder, path) for path in nested_in({path.parent for path in read}, read)]
    return [f"{listed(nested, 3)}: in a folder within, and not read; import that folder too"] if nested else []


def _own_slides(snapshot: Snapshot, cohort: str, modality: str) -> Slides:
    """What the cohort itself knows of its slides, by image id and by name of the file, where that is of one slide."""
    rows = [row for row in snapshot.rows("images", cohort=cohort).to_pylist() if row["modality"] == modality]
    cases: dict[str, str] = {}
    mpps: dict[str, float] = {}
    for row in rows:
        cases[row["image_id"]] = row["case_id"]
        if row["mpp"] and row["mpp_source"] in (*GIVEN, None):
            mpps[row["image_id"]] = row["mpp"]
    files: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["path"]:
            files[bare(row["path"])].append(row)
    for name, same in files.items():
        if name not in cases and len(same) == 1:
            cases[name] = same[0]["case_id"]
            if same[0]["image_id"] in mpps:
                mpps[name] = mpps[same[0]["image_id"]]
    return Slides(cases, mpps, f"cohort {cohort}")


def _check_apart(imports: Sequence[_Import]) -> None:
    """Raises InvalidInputError where two sets of one encoder have files of one name."""
    seen: dict[tuple[str, str, str], Path] = {}
    for one in imports:
        for item in one.peers.items:
            key = (one.peers.kind, one.name, item.name)
            other = seen.setdefault(key, item.files[0])
            if other != item.files[0]:
                raise InvalidInputError(
                    f"{other} and {item.files[0]} are both called {item.name}; import one of their folders, or "
                    "leave one out"
                )


class _Import:
    """One set of features on its way into the store."""

    def __init__(
        self, store: EmbeddingStore, snapshot: Snapshot, asked: _Asked, peers: PeerSet, slides: Slides, own: Slides
    ) -> None:
        self._store, self._snapshot, self._asked = store, snapshot, asked
        self.peers, self._slides, self._own = peers, slides, own
        self.name = peers.encoder if _is_name(peers.encoder or " ") else asked.encoder
        self._looked: list[_Looked] = []
        self._told: list[str] = []
        """Notes on values."""

    # Headers ---------------------------------------------------------------------------------------------------

    def look(self, progress: Progress) -> None:
        """Decides everything but the values. Raises InvalidInputError."""
        peers, settings = self.peers, self._asked.settings
        if not peers.items:
            raise InvalidInputError(f"{peers.place} has no files; name the folder that holds the features")
        matches, notes = match(
            peers.items,
            self._slides,
            read_renames(settings.rename_ids),
            settings.rename_ids,
            of=peers.of,
            case_is_slide=settings.case_is_slide,
        )
        notes += _in_two_parts(matches, peers.parts)
        what = f"{self._asked.modality}/{self.name}, headers"
        headers = [one.item.look() for one in counted(matches, len(matches), what, progress)]
        facts = _common_facts(matches, headers)
        width = _common_width(matches, headers)
        notes += _dtype_notes(headers)
        if peers.kind == "codes" and peers.of == "slide":
            facts["slides_of_a_case"] = "mean"
        input_kind = IMPORTED_BAGS if peers.kind == "bag" else IMPORTED_CODES
        self._spec = EncoderSpec(self.name, self._asked.version, input_kind, width, "", facts, self._asked.trained_on)
        key = CodeSetKey.of(self._asked.cohort, self._asked.modality, self._spec)
        self._looked = [
            self._decided(one, replace(header, d=width), notes) for one, header in zip(matches, headers, strict=True)
        ]
        cases = {one.case_id for one in matches}
        self.report = FolderReport(
            READERS.load(peers.layout).tool, peers.place, key, len(matches), len(cases), notes=[*peers.notes]
        )
        self.report.blank = [one.match.item.name for one in self._looked if not one.header.n]
        self.report.tiles = sum(one.header.n for one in self._looked) if peers.kind == "bag" else 0
        self.report.notes += _short([*notes, *[note for header in headers for note in header.notes]])
        self.report.notes += seen_by(self._snapshot, self._asked.cohort, [self.name], cases)
        self._check_pseudonyms(matches)
        self.report.notes += self._ambiguous(key)

    def _decided(self, one: Match, header: Header, notes: list[str]) -> _Looked:
        """The mpp: of the table, of the cohort, of the tool's files, of the option; else none."""
        name = one.item.name
        table = self._slides.mpps.get(name, self._slides.mpps.get(bare(name)))
        mpp, source = next(
            (
                (value, said)
                for value, said in ((table, "manifest"), (header.mpp, "tool"), (self._asked.settings.mpp, "option"))
                if value is not None
            ),
            (None, ""),
        )
        if table is not None and header.mpp is not None and abs(table - header.mpp) > 0.02 * table:
            notes.append(
                f"{name}: {table:g} um per pixel is given, and the tool says {header.mpp:g}; the former is taken"
            )
        if (
            source == "tool"
            and self._asked.settings.mpp
            and abs(self._asked.settings.mpp - (mpp or 0)) > 0.02 * (mpp or 0)
        ):
            notes.append(
                f"{name}: the tool says {mpp:g} um per pixel, which is taken, not --mpp {self._asked.settings.mpp:g}"
            )
        if mpp is None and self.peers.kind == "bag":
            if self.peers.needs_mpp:
                raise InvalidInputError(
                    f"{self.peers.place}: coordinates are in um, and nothing says the um per pixel of slide {name}: "
                    "give "
                    "a column mpp in --slides, or --mpp where all slides have the same; magnification does not say it"
                )
            notes.append(f"{name}: nothing says its um per pixel, so its tiles have a size in pixels alone")
        pixels = {"mpp": mpp, "mpp_source": source} if mpp is not None and self.peers.kind == "bag" else {}
        return _Looked(one, header, mpp if self.peers.kind == "bag" else None, pixels)

    def _check_pseudonyms(self, matches: Sequence[Match]) -> None:
        """Raises InvalidInputError where a name that may be a patient's would enter a cohort that hides them."""
        rows = self._snapshot.rows("cohorts", cohort=self._asked.cohort).to_pylist()
        if not any(row["pseudonymized"] for row in rows):
            return
        cases = set(self._snapshot.rows("cases", cohort=self._asked.cohort)["case_id"].to_pylist())
        for one in matches:
            if one.case_id not in cases or one.image_id not in {*self._own.cases, one.case_id}:
                raise InvalidInputError(
                    f"cohort {self._asked.cohort} hides the ids of patients, and {one.item.name!r} is none of its "
                    "images: rename the files' names to its own with --rename-ids"
                )

    def _ambiguous(self, key: CodeSetKey) -> list[str]:
        others = [
            str(other)
            for other in self._snapshot.code_sets
            if other.name.stem == key.name.stem and other.encoder_digest != key.encoder_digest
        ]
        if not others:
            return []
        return [
            f"there is another code set of this name ({listed(others)}), so write {key.name.within} where you mean this"
        ]

    # Values ----------------------------------------------------------------------------------------------------

    def write(self, progress: Progress) -> None:
        self._check_standing()
        if self.peers.kind == "bag":
            what = f"{self._asked.modality}/{self.name}"
            for one in counted(self._looked, len(self._looked), what, progress):
                try:
                    self._bag(one)
                except InvalidInputError as error:
                    self.report.failed[one.match.item.name] = str(error)
            self.report.notes += _short(self._told)
        else:
            self._codes(progress)

    @cached_property
    def _standing(self) -> Mapping[tuple[str, str], Sequence[Entry]]:
        """(case, image) -> what the store has of them in this code set."""
        found: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in self._snapshot.code_set_entries(self.report.code_set):
            found[entry.case_id, entry.image_id].append(entry)
        return found

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return {}

    def _inputs(self, one: _Looked) -> tuple[str, ...]:
        """sha256 of all files of the item."""
        for path in one.match.item.files:
            if path not in self._digests:
                with path.open("rb") as handle:
                    self._digests[path] = hashlib.file_digest(handle, "sha256").hexdigest()
        return tuple(self._digests[path] for path in one.match.item.files)

    def _artifact(self, one: _Looked) -> str:
        case, image = one.match.case_id, one.match.image_id
        return code_artifact(self.report.code_set, case, image, self._inputs(one), one.pixels)

    def _check_standing(self) -> None:
        """Raises InvalidInputError where files contradict what the store has, which only `supersede` allows."""
        if self._asked.supersede or self.peers.kind != "bag":
            return
        for one in self._looked:
            entries = self._standing.get((one.match.case_id, one.match.image_id), ())
            if entries and all(entry.artifact != self._artifact(one) for entry in entries):
                raise self._contradiction(one.match.item.name)

    def _contradiction(self, name: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.report.code_set} has other features, or another mpp, for {name}: --replace supersedes them (the "
            "old "
            "ones stay in the history), --encoder-version V keeps these beside them as another code set"
        )

    def _bag(self, one: _Looked) -> None:
        self._note_twin(one)
        if self._artifact(one) in self._snapshot.artifacts:
            return
        key, case, image = self.report.code_set, one.match.case_id, one.match.image_id
        bag = one.match.item.read(one.header, one.mpp)
        assert isinstance(bag, BagStream)  # noqa: S101  (a set of bags has items of bags)
        self._told += bag_notes(one.match.item.name, bag, one.header.facts.get("overlap_px"))
        bag = replace(bag, blocks=self._watched(one.match.item.name, bag.blocks))
        with self._store.begin(f"import of {key}: {image}", read_at=self._snapshot.read_at) as transaction:
            self._write_cases(transaction, [case])
            try:
                artifact = transaction.write_bag(
                    key, case, image, bag, input_digests=self._inputs(one), pixels=one.pixels
                )
            except InvalidInputError as error:
                file, said = str(one.match.item.files[0]), str(error)
                raise InvalidInputError(said if said.startswith(file) else f"{file}: {said}") from error
            for entry in self._standing.get((case, image), ()):
                transaction.replace(entry, by=artifact)
                self.report.replaced += 1
        self.report.new += 1

    def _note_twin(self, one: _Looked) -> None:
        """Notes a slide whose files are another's: exported twice, or copied under a wrong name."""
        name = one.match.item.name
        twin = self._slide_of.setdefault(self._inputs(one), name)
        if twin != name and one.header.n:
            self._told.append(f"{name}: its files are those of {twin} to the byte")

    @cached_property
    def _slide_of(self) -> dict[tuple[str, ...], str]:
        return {}

    def _watched(self, name: str, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same blocks; a bag all of whose tiles have one code is noted, and one in which some have none but zeros:
        so an encoder that failed, or was stopped, leaves it."""
        rows, zeros, first = 0, 0, None
        for block in blocks:
            zeros += int((~block[block[:, 0] == 0].any(axis=1)).sum())
            if len(block) and (first is None or rows):
                first = block[0].copy() if first is None else first
                is_same = bool((block[-1] == first).all()) and bool((block == first).all())
                rows = rows + len(block) if is_same else 0
            yield block
        if rows > 1:
            self._told.append(f"{name}: all {rows:,} tiles have one and the same code")
        elif zeros:
            self._told.append(
                f"{name}: a code of zeros alone for {count_of(zeros, 'tile')}, as a stopped run leaves it"
            )

    def _codes(self, progress: Progress) -> None:
        """One code of each case: the mean of its slides'. All in one commit."""
        by_case: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        what = f"{self._asked.modality}/{self.name}"
        for one in counted(self._looked, len(self._looked), what, progress):
            if one.header.n:
                code = one.match.item.read(one.header, one.mpp)
                assert isinstance(code, np.ndarray)  # noqa: S101  (a set of codes has items of codes)
                by_case[one.match.case_id].append(code)
        if not by_case:
            raise InvalidInputError(f"{self.peers.place}: every slide is blank, so there is no code")
        several = sorted(case for case, codes in by_case.items() if len(codes) > 1)
        if several:
            self.report.notes.append(
                f"{count_of(len(several), 'case')} with several slides ({listed(several)}): the code is the mean of "
                "theirs"
            )
        cases = sorted(by_case)
        means = [np.mean(by_case[case], axis=0, dtype=np.float64).astype(np.float32) for case in cases]
        codes = CaseCodes(tuple(cases), np.stack(means), key=self.report.code_set)
        self._check_targets(codes)
        digests = [
            sorted(hashlib.sha256(np.ascontiguousarray(code)).hexdigest() for code in by_case[case]) for case in cases
        ]
        blank = [case for case, code_d in zip(cases, codes.codes_nd, strict=True) if not code_d.any()]
        if blank:
            self.report.notes.append(f"the code of {listed(blank)} is all zeros")
        case_of: dict[tuple[str, ...], str] = {}
        for case, digest in zip(cases, digests, strict=True):
            twin = case_of.setdefault(tuple(digest), case)
            if twin != case:
                self.report.notes.append(f"case {case} has the very code of case {twin}")
        artifacts = [
            code_artifact(self.report.code_set, case, case, digest) for case, digest in zip(cases, digests, strict=True)
        ]
        old = []
        for case, artifact in zip(cases, artifacts, strict=True):
            for entry in self._standing.get((case, case), ()):
                if entry.artifact != artifact:
                    if not self._asked.supersede:
                        raise self._contradiction(f"case {case}")
                    old.append((entry, artifact))
        self.report.new = sum(artifact not in self._snapshot.artifacts for artifact in artifacts)
        self.report.replaced, self.report.bags, self.report.cases = len(old), len(cases), len(cases)
        if not self.report.new:
            return
        with self._store.begin(f"import of {self.report.code_set}", read_at=self._snapshot.read_at) as transaction:
            self._write_cases(transaction, cases)
            transaction.write_codes(codes, input_digests=digests)
            for entry, artifact in old:
                transaction.replace(entry, by=artifact)

    def _check_targets(self, codes: CaseCodes) -> None:
        labels = labels_by_target(self._snapshot.rows("labels", cohort=self._asked.cohort).to_pylist())
        for target, of_cases in labels.items():
            found = target_among(codes.codes_nd, codes.case_ids, of_cases)
            if found is not None:
                raise InvalidInputError(
                    f"{self.peers.place}: dimension {found} is target {target} of cohort {self._asked.cohort} in other "
                    "words, and "
                    "codes must not hold what they foretell"
                )

    def _write_cases(self, transaction: Transaction, case_ids: Sequence[str]) -> None:
        """The cohort and the cases, where they are new, and what the encoder's digest stands for."""
        if not self._snapshot.rows("cohorts", cohort=self._asked.cohort).num_rows:
            row = {"cohort": self._asked.cohort, "layout": "import", "source": "", "pseudonymized": False, "note": ""}
            transaction.write_rows("cohorts", [row], cohort=self._asked.cohort)
        new = sorted(set(case_ids) - self._known_cases)
        if new:
            rows = [{"cohort": self._asked.cohort, "case_id": case} for case in new]
            transaction.write_rows("cases", rows, cohort=self._asked.cohort)
            self._known_cases.update(new)
        register_encoder(transaction, self._spec, {})

    @cached_property
    def _known_cases(self) -> set[str]:
        return set(self._snapshot.rows("cases", cohort=self._asked.cohort)["case_id"].to_pylist())


def _common_facts(matches: Sequence[Match], headers: Sequence[Header]) -> dict[str, Any]:
    """What the files say of how they were made. Raises InvalidInputError where two contradict each other.

    A blank slide, and a file that does not say something, have what the others say.
    """
    facts: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for one, header in zip(matches, headers, strict=True):
        for name, value in header.facts.items():
            if facts.setdefault(name, value) != value and header.n:
                raise InvalidInputError(
                    f"{one.item.files[0]} is of {name} {value}, and {said_by[name]} of {facts[name]}; features of two "
                    "settings do not mix: import each from a folder of its own"
                )
            said_by.setdefault(name, one.item.name)
    return facts


def _common_width(matches: Sequence[Match], headers: Sequence[Header]) -> int:
    widths: dict[int, Match] = {}
    for one, header in zip(matches, headers, strict=True):
        if header.d:
            widths.setdefault(header.d, one)
    if not widths:
        raise InvalidInputError(
            f"{matches[0].item.files[0]} and all others are blank, so nothing says how wide the features are"
        )
    if len(widths) > 1:
        said = " and ".join(f"{d} in {one.item.name}" for d, one in sorted(widths.items())[:2])
        raise InvalidInputError(f"features have {said} dimensions; those of two encoders do not mix: part the folder")
    return next(iter(widths))


def _in_two_parts(matches: Sequence[Match], parts: Mapping[str, str]) -> list[str]:
    of_case: defaultdict[str, set[str]] = defaultdict(set)
    for one in matches:
        of_case[one.case_id].update({parts[one.item.name]} if one.item.name in parts else ())
    torn = sorted(case for case, of in of_case.items() if len(of) > 1)
    return (
        [f"the tool's own split has slides of one case in two parts ({listed(torn)}); draw another here"]
        if torn
        else []
    )


def _dtype_notes(headers: Sequence[Header]) -> list[str]:
    kinds = sorted({header.dtype for header in headers if header.n})
    return [f"features are {' in some files and '.join(kinds)} in others; each is kept as it is"] if kinds[1:] else []


def _short(notes: Sequence[str]) -> list[str]:
    """Notes that differ in the slide alone as one, with how many there are."""
    by_text: defaultdict[str, list[str]] = defaultdict(list)
    for note in notes:
        slide, colon, text = note.partition(": ")
        by_text[text if colon and " " not in slide else note].append(slide if colon and " " not in slide else "")
    return [f"{listed(names, 3)}: {text}" if all(names) else text for text, names in by_text.items()]
