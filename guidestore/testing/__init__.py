"""The contracts of guidestore as tests that authors of models, encoders, layouts and storages run on theirs.

A class each; subclass it in a test file of yours and say what is tested:

```python
from guidestore.testing import GuidanceContract


class TestShrunk(GuidanceContract):
    model = "my_models:Shrunk"
```

They need pytest. guidestore's own tests run the same classes over everything that it brings.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("decoder", "encoder", "foreteller", "guidance", "layout", "storage"))
)

from guidestore.testing.decoder import DecoderCase, DecoderContract  # noqa: E402
from guidestore.testing.encoder import EncoderContract  # noqa: E402
from guidestore.testing.foreteller import ForetellerCase, ForetellerContract  # noqa: E402
from guidestore.testing.guidance import GuidanceCase, GuidanceContract  # noqa: E402
from guidestore.testing.layout import LayoutContract  # noqa: E402
from guidestore.testing.storage import StorageContract  # noqa: E402

__all__ = [
    "DecoderCase",
    "DecoderContract",
    "EncoderContract",
    "ForetellerCase",
    "ForetellerContract",
    "GuidanceCase",
    "GuidanceContract",
    "LayoutContract",
    "StorageContract",
]
