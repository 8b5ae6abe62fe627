"""JSON with one spelling per value: what digests and seals are taken over. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value (sorted keys, no spaces, no NaN): what digests are taken over."""
    plain = json.loads(json.dumps(value, allow_nan=False))  # keys become text before they are sorted: "10" < "2"
    return canonical_text(plain)


def canonical_text(plain: Any) -> str:
    """`canonical_json` of a value that was read from JSON."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hex sha256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
