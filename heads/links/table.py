"""Which kind has which link."""

from __future__ import annotations

from collections.abc import Mapping

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.links.link import Link
from guidestore.heads.links.multilabel import MultilabelLink
from guidestore.heads.links.ordinal import OrdinalLink
from guidestore.heads.links.survival import SurvivalLink
from guidestore.heads.links.value import ValueLink

LINKS: Mapping[TargetKind, type[Link]] = {
    "ordinal": OrdinalLink,
    "multilabel": MultilabelLink,
    "value": ValueLink,
    "survival": SurvivalLink,
}
"""Of all kinds but classes."""
