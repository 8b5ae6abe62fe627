"""Encode medical images once, keep every latent code, train and compare guidance heads honestly.

```python
import guidestore as gs

store = gs.open("guidestore-store")
study = store.guide("mfeat", inferior="mor/mfeat", superior="fou/mfeat", guidance="ridge", decoder="logistic")
study.table()
```

A name is loaded when it is first used, so that `import guidestore` costs nothing (docs/library.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guidestore.embeddings.errors import (
        AmbiguousNameError,
        CorruptArtifactError,
        FoldLeakageError,
        GuidestoreError,
        InvalidInputError,
        NotFoundInStoreError,
        StorageError,
    )
    from guidestore.embeddings.types import Bag
    from guidestore.flows.library import datasets
    from guidestore.flows.library.bags import Bags
    from guidestore.flows.library.comparing import Comparison
    from guidestore.flows.library.data import Data
    from guidestore.flows.library.head import Head, fit, load
    from guidestore.flows.library.plots import Plots
    from guidestore.flows.library.store import Store, open
    from guidestore.flows.library.study import Study
    from guidestore.flows.library.tables import Table
    from guidestore.flows.library.versions import show_versions
    from guidestore.heads.estimators import DecoderClassifier, DecoderRegressor, GuidanceRegressor

_ERRORS, _LIBRARY = "guidestore.embeddings.errors", "guidestore.flows.library"
_ESTIMATORS = "guidestore.heads.estimators"
_PLACES = {
    "Bag": "guidestore.embeddings.types",
    "Bags": f"{_LIBRARY}.bags",
    "Comparison": f"{_LIBRARY}.comparing",
    "Data": f"{_LIBRARY}.data",
    "DecoderClassifier": _ESTIMATORS,
    "DecoderRegressor": _ESTIMATORS,
    "GuidanceRegressor": _ESTIMATORS,
    "Head": f"{_LIBRARY}.head",
    "Plots": f"{_LIBRARY}.plots",
    "Store": f"{_LIBRARY}.store",
    "Study": f"{_LIBRARY}.study",
    "Table": f"{_LIBRARY}.tables",
    "datasets": _LIBRARY,
    "fit": f"{_LIBRARY}.head",
    "load": f"{_LIBRARY}.head",
    "open": f"{_LIBRARY}.store",
    "show_versions": f"{_LIBRARY}.versions",
    "AmbiguousNameError": _ERRORS,
    "CorruptArtifactError": _ERRORS,
    "FoldLeakageError": _ERRORS,
    "GuidestoreError": _ERRORS,
    "InvalidInputError": _ERRORS,
    "NotFoundInStoreError": _ERRORS,
    "StorageError": _ERRORS,
}
"""Public name -> the module that has it."""

__all__ = [
    "AmbiguousNameError",
    "Bag",
    "Bags",
    "Comparison",
    "CorruptArtifactError",
    "Data",
    "DecoderClassifier",
    "DecoderRegressor",
    "FoldLeakageError",
    "GuidanceRegressor",
    "GuidestoreError",
    "Head",
    "InvalidInputError",
    "NotFoundInStoreError",
    "Plots",
    "StorageError",
    "Store",
    "Study",
    "Table",
    "datasets",
    "fit",
    "load",
    "open",
    "show_versions",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'guidestore' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    value = getattr(import_module(place), name, None) or import_module(f"{place}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
