"""The errors of heads beside those of the centre."""

from __future__ import annotations

from guidestore.embeddings.errors import GuidestoreError


class DivergedError(GuidestoreError):
    """Training left the finite numbers. Names the head and the epoch, and says what to lower."""

    exit_code = 8
