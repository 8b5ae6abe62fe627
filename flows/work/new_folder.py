"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside `output` to be filled, which takes its name once the block has ended well, and goes otherwise.

    Raises InvalidInputError where `output` is there and not empty, or cannot be written.
    """
    if output.is_symlink() or (output.exists() and not (output.is_dir() and not any(output.iterdir()))):
        raise InvalidInputError(f"{output} is there already; name a new folder, or remove it first")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        try:
            staged.chmod(0o755)
            yield staged
            staged.rename(output)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be written ({error}); name another folder") from error
