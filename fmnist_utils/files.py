"""Write files so that they are there whole or not at all, and open what is surely a file."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fmnist_utils.errors import FailureError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path to write to, and move what was written to ``path`` if no error occurs.

    Parameters
    ----------
    path : Path
        The file to make or to replace; missing folders are made.

    Raises
    ------
    FailureError
        If it cannot be written; the file at ``path`` is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmnist_utils.files import atomic_write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "note.txt") as unfinished:
    ...         _ = unfinished.write_text("whole", encoding="utf-8")
    ...     (Path(folder) / "note.txt").read_text(encoding="utf-8")
    'whole'
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        sync(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise FailureError(
            f"Cannot write {path} ({error}): make room, or choose a folder that can be written."
        ) from error
    finally:
        with suppress(OSError):  # gone already, or never begun
            unfinished.unlink()


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk, so that no crash leaves its name with nothing.

    Parameters
    ----------
    path : Path
        A file that was written.

    Raises
    ------
    OSError
        If the disk refuses what was written.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, in one step; errors as `atomic_write`.

    Parameters
    ----------
    path : Path
        Missing folders are made.
    text : str
        All of the file.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read it; what never ends, or waits for somebody to write, is none.

    Parameters
    ----------
    path : Path
        A regular file.

    Raises
    ------
    OSError
        If it cannot be opened, or is a pipe, a socket or a device.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to open a folder says that it is one
        raise OSError(errno.EINVAL, "It is a pipe or a device, not a file", str(path))
    return path.open("rb")
