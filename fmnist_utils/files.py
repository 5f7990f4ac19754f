"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fmnist_utils.errors import FailureError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put it in the place of another once it is complete.

    Raises
    ------
    FailureError
        If it cannot be written; the file at ``path`` is then as it was.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise FailureError(
            f"Cannot write {path} ({error}): make room, or choose a folder that can be written."
        ) from error
    finally:
        with suppress(OSError):  # gone already, or never begun
            unfinished.unlink()
