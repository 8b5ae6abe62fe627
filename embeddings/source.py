"""Which code an object of others is: a digest of the source that it runs, without running it.

The source of a class or function is its module's, that of the modules of its base classes, and that of what these
import from the same place: the same package, or, for a loose file, files beside it. It is digested as Python reads it,
so that comments and line breaks make no difference. Of what is installed, imports are not followed: its version stands
for them.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from guidestore.embeddings.canonical import sha256_of

UNVERSIONED = "unversioned"
"""In front of the digest of code that has no source to digest: it is that of one session alone."""


@dataclass(frozen=True, slots=True)
class Code:
    """The identity of a class or function of others."""

    name: str
    """``module:Class``."""
    source: str
    """sha256 of its source; ``unversioned-…`` where there is none, as of what was typed into a session."""
    package: str
    """The distribution that has the module and its version, ``my-models 1.0``; '' for a file that is not installed."""

    @property
    def is_versioned(self) -> bool:
        return not self.source.startswith(UNVERSIONED)

    @property
    def is_installed(self) -> bool:
        return bool(self.package)

    def record(self) -> dict[str, str]:
        """For recipes and the configs of models."""
        return asdict(self)


def object_name(of: Any) -> str:
    """``module:Class`` of a class or function, ``sklearn.svm:SVC`` rather than ``sklearn.svm._classes:SVC``."""
    public = [part for part in of.__module__.split(".") if not part.startswith("_") or part == "__main__"]
    shown = sys.modules.get(".".join(public))
    module = shown.__name__ if shown and getattr(shown, of.__qualname__, None) is of else of.__module__
    return f"{module}:{of.__qualname__}"


def code_of(of: Any) -> Code:
    """Of a class or function, as it is loaded: where its file has changed since, it is unversioned."""
    if not isinstance(of.__module__, str):  # of code that was run as text
        return Code(f"__main__:{of.__qualname__}", session_source(of), "")
    package = package_of(of.__module__)
    bases = [base.__module__ for base in inspect.getmro(of)] if inspect.isclass(of) else []
    sources = _sources(of.__module__, bases) if "<locals>" not in of.__qualname__ else {}
    if not sources or not _as_in_files(of, sources):
        return Code(object_name(of), session_source(of), package)
    return Code(object_name(of), _digest(sources, package), package)


_sessions: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def session_source(of: Any) -> str:
    """In place of a digest: the same for one object as long as it lives, where it can be told from others."""
    fresh = f"{UNVERSIONED}-{uuid4().hex}"
    try:
        return _sessions.setdefault(of, fresh)
    except TypeError:  # no hash, or no weak reference
        return fresh


def is_installed(module: str) -> bool:
    """Whether an installer put it there, or it is of Python itself; of a module that is loaded or can be found."""
    if module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        return True
    path = _file_of(module)
    return path is not None and any(path.is_relative_to(folder) for folder in _site_folders())


@cache
def _site_folders() -> tuple[Path, ...]:
    """Of this environment, and of others that it sees (the system's, the user's, those of a .pth file)."""
    own = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    seen = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    return tuple({Path(folder).resolve() for folder in (*own, *seen)})


def _file_of(module: str) -> Path | None:
    """None where it has none, or is not there. Nothing is imported."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        path = Path(file).resolve() if file else None
        return path if path and path.is_file() else None
    top, *parts = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not parts:
        return Path(spec.origin).resolve() if spec and spec.origin and spec.has_location else None
    for folder in spec.submodule_search_locations or ():
        inner = Path(folder, *parts)
        for path in (inner / "__init__.py", inner.with_name(f"{inner.name}.py")):
            if path.is_file():
                return path.resolve()
    return None


def package_of(module: str) -> str:
    """NAME VERSION of the distribution that has the module; '' for none."""
    return _package_of(module.partition(".")[0])


@cache  # reading what all distributions hold takes a second
def _package_of(top: str) -> str:
    if top in sys.stdlib_module_names or not is_installed(top):
        return ""
    try:
        found = distribution(top)
    except PackageNotFoundError:
        names = packages_distributions().get(top)
        if not names:
            return ""
        found = distribution(names[0])
    return f"{found.name} {found.version}"


def _sources(home: str, more: Iterable[str] = ()) -> dict[str, Path]:
    """Module -> file, of all that module `home` runs, and of `more` that belong to it; none where one has no file."""
    waiting = [home, *(module for module in more if _belongs(module, home))]
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = _file_of(module)
        if path is None:
            return {}
        found[module] = path
        if not is_installed(module) and path.suffix == ".py":
            reached = [*_imported(module, path), module.rpartition(".")[0]]
            waiting += [other for other in reached if other and _belongs(other, home) and _file_of(other)]
    return found


def _digest(sources: Mapping[str, Path], package: str) -> str:
    digests = {name: _normal_digest(path, _stamp(path)) for name, path in sorted(sources.items())}
    return sha256_of({"modules": digests, "package": package})


def digest_before_import(module: str) -> str:
    """The `source` that `code_of` would give what is in a module that is not installed; '' where there is none."""
    return "" if is_installed(module) else _digest(sources, "") if (sources := _sources(module)) else ""


def _belongs(module: str, home: str) -> bool:
    """Whether it is of the same package as `home`, or is not installed anywhere."""
    top = module.partition(".")[0]
    if top == "guidestore" or top in sys.stdlib_module_names:
        return False
    return top == home.partition(".")[0] or not is_installed(top)


def _imported(module: str, path: Path) -> Iterator[str]:
    """Names that its file imports, those of modules among them."""
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            yield from filter(None, (base, *(f"{base}.{alias.name}" for alias in node.names)))


# As it is loaded -----------------------------------------------------------------------------------------------------


def _as_in_files(of: Any, sources: dict[str, Path]) -> bool:
    """Whether the functions that it consists of and calls, and the constants of its modules and classes, are those of
    the files: not patched, not edited since, not of bytecode that Python kept of a file of that size and second."""
    loose = {name: path for name, path in sources.items() if path.suffix == ".py" and not is_installed(name)}
    written = {name: _functions(path, _stamp(path)) for name, path in loose.items()}
    constants = {name: _constants(path, _stamp(path)) for name, path in loose.items()}
    if any(_differ(sys.modules.get(name), of_file.get("", {})) for name, of_file in constants.items()):
        return False
    waiting: list[Any] = [of]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        module = getattr(item, "__module__", None)
        if id(item) in seen or not isinstance(item, type | FunctionType) or not isinstance(module, str):
            continue
        seen.add(id(item))
        if module not in written:
            if isinstance(item, FunctionType) and module not in sources and _belongs(module, of.__module__):
                return False  # put there by another file, or by hand
        elif isinstance(item, type):
            if _differ(item, constants[module].get(item.__qualname__, {})):
                return False
            waiting += [*inspect.getmro(item), *map(_function_in, vars(item).values())]
        elif wrapped := getattr(item, "__wrapped__", None):
            waiting.append(wrapped)
        elif _is_generated(item):
            continue
        elif _shape(item.__code__) not in written[module]:
            return False
        else:
            waiting += [item.__globals__[name] for name in _names(item.__code__) if name in item.__globals__]
    return True


def _is_generated(function: FunctionType) -> bool:
    """As dataclasses write them, or Python itself."""
    path = function.__code__.co_filename
    return function.__name__.startswith("__") and (path == "<string>" or path.startswith(sysconfig.get_path("stdlib")))


def _function_in(value: Any) -> Any:
    """What a class keeps under a name, without its decoration."""
    if isinstance(value, property):
        return value.fget
    return getattr(value, "__func__", value) if isinstance(value, classmethod | staticmethod) else value


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(const) for const in code.co_consts if isinstance(const, CodeType)))


def _shape(code: CodeType) -> Any:
    """What a function does, wherever it stands in the file."""
    consts = tuple(_shape(const) if isinstance(const, CodeType) else _spelled(const) for const in code.co_consts)
    return (code.co_qualname, code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts)


_PLAIN = frozenset({bool, int, float, complex, str, bytes, tuple, type(None)})
_AS_IT_IS = frozenset({"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"})


def _differ(of: Any, constants: Mapping[str, Any]) -> bool:
    """Whether a module or a class has another value under a name that its file gives once, and a constant."""
    held = {name: vars(of)[name] for name in constants if of is not None and name in vars(of)}
    # Of a class, its maker may have put something else there: members of an Enum, slots.
    plain = {name: value for name, value in held.items() if type(value) in _PLAIN}
    return any(
        (type(value), repr(value)) != (type(constants[name]), repr(constants[name])) for name, value in plain.items()
    )


@lru_cache(256)
def _constants(path: Path, stamp: tuple[int, int]) -> Mapping[str, Mapping[str, Any]]:
    """Qualified name of a class, '' for the module -> what it gives a name to, once."""
    tree = ast.parse(path.read_bytes())
    elsewhere = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    found: dict[str, dict[str, Any]] = {}

    def look(scope: str, body: Sequence[ast.stmt]) -> None:
        times, values = Counter[str](elsewhere if not scope else ()), dict[str, Any]()
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                times[node.name] += 1
                if isinstance(node, ast.ClassDef):
                    look(f"{scope}.{node.name}" if scope else node.name, node.body)
                continue
            times.update(
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            )
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.expr):
                code = compile(ast.Expression(value), str(path), "eval", dont_inherit=True)
                if {step.opname for step in dis.get_instructions(code)} <= _AS_IT_IS:
                    values |= {one.id: code.co_consts[-1] for one in targets if isinstance(one, ast.Name)}
        found[scope] = {name: value for name, value in values.items() if times[name] == 1}

    look("", tree.body)
    return found


def _spelled(const: object) -> str:
    return repr(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(256)
def _functions(path: Path, stamp: tuple[int, int]) -> frozenset[Any]:
    """Shapes of all functions that a file defines."""
    shapes, waiting = set(), [compile(path.read_bytes(), str(path), "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        shapes.add(_shape(code))
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
    return frozenset(shapes)


@lru_cache(256)
def _normal_digest(path: Path, stamp: tuple[int, int]) -> str:
    data = path.read_bytes()
    if path.suffix == ".py":
        data = ast.unparse(ast.parse(data)).encode()
    return hashlib.sha256(data).hexdigest()
