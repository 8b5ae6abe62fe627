"""The two secrets of a server that we start: one for programs, which may do all, and one for browsers."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError

FILE = "guidestore-auth"
"""In Prefect's home folder. Its line is what PREFECT_API_AUTH_STRING wants."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """They outlive the server, so that runs, workers and open pages go on when it starts again."""

    private: str = field(repr=False)
    """``user:password`` of PREFECT_API_AUTH_STRING: Prefect's clients, runner, runs and workers send it."""

    @property
    def token(self) -> str:
        """What a browser gives once. Whoever has it cannot tell the private one."""
        return hmac.new(self.private.encode(), b"browser", hashlib.sha256).hexdigest()


def secrets_in(home: Path) -> Secrets:
    """Those of the servers of this home folder, made where there are none. Raises InvalidInputError."""
    file = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        new = home / f".{FILE}-{os.getpid()}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as out:
                out.write(f"guidestore:{secrets.token_urlsafe(32)}\n")
            with suppress(FileExistsError):  # of two that start at once the first wins, and nobody reads half of it
                os.link(new, file)
        finally:
            new.unlink()
        facts = file.stat()
        line = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the secret of the server cannot be kept in {file}: {error}") from error
    if facts.st_mode & 0o077 or facts.st_uid != os.getuid():
        raise InvalidInputError(f"{file} can be read by others: delete it, and a new secret is made")
    if not all(line.partition(":")) or len(line) < 32:
        raise InvalidInputError(f"{file} holds no secret of a server: delete it, and a new one is made")
    return Secrets(line)
