"""Commands whose parameters are the fields of settings models, read when the command is asked for.

A field is one option: `tile_px` is `--tile-px`, with its description, default and bounds. A list is an option that is
repeated, by the singular: `folds` is `--fold 0 --fold 1`. So `guidestore --help` and `guidestore sql` load no model.

```python
@command(app, settings="guidestore.flows.encoding.settings:EncodeSettings", arguments=("cohort",))
def encode(settings: EncodeSettings, place: Store = STORE) -> None: ...
```
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from guidestore.flows.cli.app import FILE_OR_URL, Command

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def command(
    app: typer.Typer, name: str | None = None, *, arguments: Sequence[str] = (), **models: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds a function to `app`; its parameters named in `models` are filled from options, the others as typer does.

    models: parameter -> ``module:Model``. arguments: fields that are positional. What pydantic refuses is told in one
    sentence (InvalidInputError).
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = _without(function, models)
        lazy = type(
            "SettingsCommand",
            (_Lazy,),
            {"function": staticmethod(function), "models": models, "own": staticmethod(own)},
        )
        lazy.arguments = tuple(arguments)
        app.command(name, cls=lazy)(own)
        return function

    return register


class _Lazy(Command):
    """A command that knows its name and help at once, and its parameters when it is run or its help is asked for."""

    function: Callable[..., None]
    models: Mapping[str, str]
    own: Callable[..., None]
    arguments: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "params": [], "callback": None})

    @cached_property
    def _whole(self) -> TyperCommand:
        models = {name: _loaded(reference) for name, reference in self.models.items()}
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(_function(self.function, self.own, models, self.arguments))
        whole = typer.main.get_command(alone)
        assert isinstance(whole, TyperCommand)  # noqa: S101  (an app of one command is that command)
        return whole

    @property
    def params(self) -> Any:
        return self._whole.params

    @params.setter
    def params(self, _: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """typer sets what it read of the function, which is not all."""

    @property
    def callback(self) -> Any:
        return self._whole.callback

    @callback.setter
    def callback(self, _: Any) -> None:
        """As of `params`."""


def _loaded(reference: str) -> type[BaseModel]:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _without(function: Callable[..., None], names: Mapping[str, str]) -> Callable[..., None]:
    """A function of the other parameters alone, whose annotations are evaluated: those of models need their modules."""

    def own(**values: Any) -> None: ...

    others = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name not in names]
    annotated = SimpleNamespace(__annotations__={parameter.name: parameter.annotation for parameter in others})
    hints = get_type_hints(annotated, function.__globals__, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others
    ]
    _sign(own, function, parameters)
    return own


def _sign(own: Any, like: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    own.__name__, own.__doc__ = like.__name__, like.__doc__
    own.__signature__ = inspect.Signature(parameters)
    own.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _function(
    function: Callable[..., None],
    own: Callable[..., None],
    models: Mapping[str, type[BaseModel]],
    arguments: Sequence[str],
) -> Callable[..., None]:
    from guidestore.flows.work.settings import validated

    def run(**values: Any) -> None:
        made = {}
        for name, model in models.items():
            given = {field: values.pop(field) for field in model.model_fields if field in values}
            made[name] = validated(model, **{field: value for field, value in given.items() if value not in (None, [])})
        function(**made, **values)

    parameters = [p for model in models.values() for p in parameters_of(model, arguments)]
    _sign(run, function, [*parameters, *inspect.signature(own).parameters.values()])
    return run


def parameters_of(model: type[BaseModel], arguments: Sequence[str] = ()) -> list[inspect.Parameter]:
    """What typer reads of a command, for each field of a model: positional for those among `arguments`."""
    ordered = sorted(model.model_fields.items(), key=lambda field: field[0] not in arguments)
    return [_parameter(name, info, positional=name in arguments) for name, info in ordered]


def _parameter(name: str, info: FieldInfo, *, positional: bool) -> inspect.Parameter:
    from guidestore.flows.work.settings import Environment, by_url

    optional, bare = _bare(info.annotation)
    repeated = get_origin(bare) is tuple and get_args(bare)[1:] == (...,)
    inner, choices = info, ()
    if repeated:
        item, inner = _item(get_args(bare)[0])
        choices = get_args(item) if get_origin(item) is Literal else ()
        bare = list[str if choices else item]
    arguments: dict[str, Any] = {"help": _help(info, repeated)}
    arguments |= {"min" if rule == "ge" else "max": _rule(inner, rule) for rule in ("ge", "le")}
    arguments["envvar"] = next((extra.variable for extra in info.metadata if isinstance(extra, Environment)), None)
    if choices:  # pydantic names the wrong one, and the field
        arguments["metavar"] = f"[{'|'.join(choices)}]"
    if by_url(info):
        arguments["metavar"] = FILE_OR_URL
    default = inspect.Parameter.empty
    if not info.is_required():
        default = info.get_default(call_default_factory=True)
        default = (list(default) or None) if repeated else default
        optional = optional or default is None
    option = name.removesuffix("s") if repeated else name
    flag = f"--{option.replace('_', '-')}"
    if bare is bool and default is True:
        flag += f"/--no-{option.replace('_', '-')}"
    told = typer.Argument(**arguments) if positional else typer.Option(flag, **arguments)
    annotation = Annotated[bare | None if optional else bare, told]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _bare(annotation: Any) -> tuple[bool, Any]:
    """Whether it may be None, and the type without that and without what is only checked, as of `DirectoryPath`."""
    optional = False
    if isinstance(annotation, type(int | None)) or get_origin(annotation) is Union:
        others = [kind for kind in get_args(annotation) if kind is not type(None)]
        optional = len(others) < len(get_args(annotation))
        # Of several kinds (a number or a name) pydantic makes out which it is.
        annotation = others[0] if len(others) == 1 else str
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return optional, annotation


def _item(item: Any) -> tuple[Any, FieldInfo]:
    """The type of the items of a list, and where their bounds stand."""
    from pydantic.fields import FieldInfo

    return _bare(item)[1], FieldInfo.from_annotation(item) if get_origin(item) is Annotated else FieldInfo()


def _rule(info: FieldInfo, rule: str) -> Any:
    return next((getattr(bound, rule) for bound in info.metadata if hasattr(bound, rule)), None)


def _help(info: FieldInfo, repeated: bool) -> str:
    """The description. In a form a field is left empty, on a command line an option is left out."""
    text = (info.description or "").replace("; empty: ", "; default: ").replace("Empty: ", "Default: ")
    return f"{text.rstrip('.')}; repeat for several." if repeated else text
