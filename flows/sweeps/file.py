"""A sweep as its author writes it: one YAML file, checked field by field with the line of each error, and its grid.

```yaml
cohort: skin
at: nightly                      # snapshot number, tag or alias; default: the newest when the sweep is run
targets: [DIAG, PN]
split: published
inferior: clinical/colour_texture
superior: [dermoscopy/colour_texture, dermoscopy/inception_multitask]
guidance:
  - ridge
  - name: autoencoder
    learning_rate: [0.01, 0.1]   # a list is a grid
    hidden: [[256], [512, 256]]  # of a parameter that is a list itself, a list of lists
decoder: [logistic, {name: mlp, hidden_units: [20, 50]}]
seeds: [0, 1]
```
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.limits import reason_of
from guidestore.embeddings.types import check_name
from guidestore.flows.work.settings import Fold
from guidestore.heads.choice import Choice

MOST_RUNS = 1_000_000
"""A grid beyond is refused: it is a slip of the pen, not a plan."""


def _listed(value: Any) -> Any:
    """One value stands for a list of it."""
    return value if isinstance(value, list | tuple) else (value,)


def named(value: Any) -> Any:
    """A bare name stands for that model with its defaults."""
    return [{"name": item} if isinstance(item, str) else item for item in _listed(value)]


class Model(BaseModel):
    """A guidance model, or a decoder, with parameters; lists of them make a grid."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="Name or preset.")

    def choices(self, choice_of: Callable[[str, dict[str, Any]], Choice]) -> Iterator[Choice]:
        """One for each combination of the parameters' values."""
        given = self.model_extra or {}
        lists = [value if isinstance(value, list) else [value] for value in given.values()]
        for values in itertools.product(*lists):
            params = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in zip(given, values, strict=True)
            }
            yield choice_of(self.name, params)


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed)]
Folds = Annotated[tuple[Fold, ...], BeforeValidator(_listed)]
Models = Annotated[tuple[Model, ...], BeforeValidator(named)]
Budget = Annotated[int, Field(ge=1)] | Literal["all"]


def _name(value: str) -> str:
    if value:
        try:
            check_name(value, "name of a sweep")
        except InvalidNameError as error:
            raise ValueError(str(error)) from error
    return value


MOST_CHARACTERS = 1_000_000
MOST_DEEP = 20


class SweepFile(BaseModel):
    """What to try. Lists make a grid; every field but `name` and `at` may be a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_name)] = Field(
        default="", description="What the sweep is called; empty: the file's name."
    )
    cohort: str = Field(description="Name of the cohort.")
    at: int | str | None = Field(default=None, description="Snapshot number, tag or alias; empty: the newest.")
    targets: Names | None = Field(default=None, description="What to foretell; empty: the cohort's only target.")
    split: str = Field(default="", description="Empty: the cohort's only one.")
    folds: Folds = Field(default=(), description="Empty: all folds of the split.")
    inferior: Names = Field(description="Inferior code sets: MODALITY/ENCODER[@DIGEST].")
    superior: Names = Field(description="Superior code sets.")
    modes: Annotated[tuple[Literal["matched", "as-published"], ...], BeforeValidator(_listed)] = Field(
        default=("matched",), description="One kind of decoder in all rows, or D_I and D_S as the encoders left them."
    )
    guidance: Models = Field(
        default=(Model(name="autoencoder"),), description="Guidance models G; [] for none: students alone."
    )
    fusion: Models = Field(
        default=(Model(name="concatenation"),),
        min_length=1,
        description="How the two codes of S+I and G(I)+I are joined.",
    )
    decoder: Models = Field(default=(Model(name="mlp"),), min_length=1, description="Decoders D_c.")
    seeds: Numbers = Field(default=(0,), min_length=1, description="Of heads, controls and drawn labels; a run each.")
    controls: Annotated[
        tuple[Literal["shuffled", "within class", "self", "label again", "noise", "repeated"], ...],
        BeforeValidator(_listed),
    ] = Field(
        default=("shuffled", "within class", "self", "label again"),
        description="What G is held against; a verdict needs the first three, and the fourth for a G that learns from "
        "labels. noise and repeated stand in for G(z_I).",
    )
    cross_fit: int = Field(default=0, ge=0, description="Folds of G for the train cases of G(I)+I; 0: none.")
    permutations: int = Field(default=5, ge=0, description="Draws of each random control of each guided row.")
    students: Models = Field(
        default=(),
        description="Students of label transfer: each adds row T(I) with its controls, on the same codes; with "
        "`guidance`, it reads [G(z_I), z_I].",
    )
    baselines: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        default=(), description="KD(I), GD(I), E(I): distillation without G, generalized distillation, ensemble."
    )
    noisy_labels: bool = Field(default=False, description="For students: labels may be wrong.")
    labelled: Annotated[tuple[Budget, ...], BeforeValidator(_listed)] = Field(
        default=("all",), min_length=1, description="Labels of the train part that heads may see; drawn per class."
    )

    def choices(self, kind: Literal["guidance", "fusion", "decoder", "students"]) -> list[Choice]:
        """The grid of one kind of model, each once. Raises InvalidInputError for code of others that is not there."""
        from guidestore.heads.registry import decoder_choice, fusion_choice, guidance_choice

        own = {"guidance": guidance_choice, "decoder": decoder_choice, "fusion": fusion_choice}
        choice_of = own.get(kind, Choice.of)
        models: tuple[Model, ...] = getattr(self, kind)
        return list(dict.fromkeys(choice for model in models for choice in model.choices(choice_of)))


def read_sweep(path: Path) -> SweepFile:
    """The sweep in a YAML file. Raises InvalidInputError with the line and field of the first thing that is wrong."""
    text = _text_of(Path(path))
    try:
        _check_plain(text, path)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        given = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two of dates and numbers out of range
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InvalidInputError(f"{path}{line}: {getattr(error, 'problem', error)}; this is no YAML") from error
    if not isinstance(given, dict):
        raise InvalidInputError(f"{path} holds no fields; a sweep needs at least cohort, inferior and superior")
    try:
        sweep = SweepFile(**{"name": Path(path).stem, **{str(key): value for key, value in given.items()}})
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(SweepFile.model_fields)
        hint = f"; the fields are {known}" if first["type"] == "extra_forbidden" else ""
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(tree, first["loc"])
        raise InvalidInputError(f"{path}, line {line}, {field}: {first['msg']}{hint}") from error
    return sweep


def _text_of(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a folder, a pipe, a device
            raise InvalidInputError(f"{path} is no file; name a YAML file")
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {reason_of(error)}; name a YAML file") from error
    if len(text) > MOST_CHARACTERS:
        raise InvalidInputError(f"{path} has more than {MOST_CHARACTERS:,} characters, so it is no sweep")
    return text


def _check_plain(text: str, path: Path) -> None:
    """Refuses what would not end: deep nesting, and aliases, of which few lines make billions of values."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{path}, line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise InvalidInputError(f"{where}: aliases (*{event.anchor}) are not read; write the values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise InvalidInputError(f"{where}: lists are more than {MOST_DEEP} deep, and a sweep has no such field")


def _line_of(node: Any, keys: tuple[int | str, ...]) -> int:
    """Line of the deepest node along `keys` that the file has."""
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            item = next((pair for pair in node.value if pair[0].value == str(key)), None)
            if item is None:
                break
            node = item[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
    return node.start_mark.line + 1


def as_mapping(sweep: SweepFile) -> Mapping[str, Any]:
    """JSON-able, for the record."""
    return sweep.model_dump(mode="json")
