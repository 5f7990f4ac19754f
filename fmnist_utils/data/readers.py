"""Read other people's files: IDX, CSV in Kaggle's layout, folders of PNGs."""

import csv
import gzip
import io
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fmnist_utils.arrays import on_black
from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE, N_CLASSES
from fmnist_utils.data.labelled import Labelled
from fmnist_utils.errors import BadInputError, unknown
from fmnist_utils.files import open_file

OnBad = Literal["raise", "drop"]

_PIXELS = range(math.prod(IMAGE_SHAPE))
_HEADER = ["label", *(f"pixel{1 + i}" for i in _PIXELS)]  # of Kaggle's CSV
_OTHER_HEADERS = (  # of widely used files of MNIST
    ["label", *(f"pixel{i}" for i in _PIXELS)],
    ["label", *(f"{1 + i // IMAGE_SHAPE[1]}x{1 + i % IMAGE_SHAPE[1]}" for i in _PIXELS)],
)
# As pandas writes them, if a column once had a gap, too.
_NUMBERS = {f"{number}{zero}": number for number in range(256) for zero in ("", ".0")}
GZIP, _IDX = b"\x1f\x8b", b"\x00\x00\x08"
_NUMPY = (b"PK\x03\x04", b"\x93NUMPY")  # .npz is a zip
# What is read of a file, unpacked: more than any data set of such images has. A few MB of gzip or
# zip can stand for terabytes.
_MOST_BYTES = 10**9
_LONGEST_LINE = 2**16  # of a CSV file, which needs a tenth of it
_MANY = 1_000  # bad rows, after which a file without as many good ones is given up
_OTHER_KINDS = {  # how files begin
    b"PAR1": "a Parquet file",
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"\x89HDF": "an HDF5 file",
}


def file_kind(path: str | Path) -> Literal["idx", "csv", "numpy"]:
    """Return what a file is, by its content and not by its name.

    Parameters
    ----------
    path : str or Path
        The file, gzipped or not.

    Raises
    ------
    BadInputError
        If it cannot be read, or is none of these; what it is instead is named where it is known.
    """
    with _named(path), _opened(Path(path)) as file:
        head = file.read(512)
    if head.startswith(_IDX):
        return "idx"
    if head.startswith(_NUMPY):
        return "numpy"
    found = next((name for magic, name in _OTHER_KINDS.items() if head.startswith(magic)), "")
    if b"\0" not in head and b"," in head and not found:
        return "csv"
    raise BadInputError(
        f"{path} is {found or 'neither an IDX nor a CSV file'}: give an IDX file of bytes, a CSV "
        "file with the header label,pixel1,…,pixel784, a .npz of NumPy's, or a folder with PNGs by "
        "class."
    )


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or not, whatever its name.

    Parameters
    ----------
    path : str or Path
        The file. Format: https://yann.lecun.com/exdb/mnist/

    Returns
    -------
    ndarray, uint8
        In the shape that the file's header gives.

    Raises
    ------
    BadInputError
        If the file cannot be read, is no IDX file, has too few or too many bytes, or says that it
        has more than 1 GB.
    """
    with _named(path, "get the file again"), _opened(Path(path)) as file:
        return _idx_array(file)


def read_numpy(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a ``.npz`` or ``.npy`` file, by name; that of the latter is empty.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    BadInputError
        If the file cannot be read, is damaged, holds pickled objects, which could be programs, or
        more than 1 GB.
    """
    with _named(path, "save plain arrays with np.savez"), open_file(Path(path)) as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                return {"": loaded}
            members = zipfile.ZipFile(file).infolist()
            if sum(member.file_size for member in members) <= _MOST_BYTES:
                return dict(loaded)
        except Exception as error:  # NumPy and zipfile raise whatever odd bytes lead them to
            raise ValueError(f"is damaged ({error})") from error
        raise ValueError(f"holds more than {_MOST_BYTES:,} bytes")


def read_csv(path: str | Path, *, on_bad: OnBad = "raise") -> Labelled:
    """Return what a CSV file in the layout of Kaggle's Fashion-MNIST holds, one image a row.

    Parameters
    ----------
    path : str or Path
        The file, gzipped or not; its first row is ``label,pixel1,…,pixel784`` (or counts pixels
        from 0, or from 1x1 to 28x28), labels are 0 to 9 and pixels whole numbers from 0 to 255.
        Layout: https://www.kaggle.com/datasets/zalando-research/fashionmnist
    on_bad : {"raise", "drop"}
        What to do about bad rows: list them in an error, or leave them out with a warning.

    Returns
    -------
    Labelled
        In the order of the rows.

    Raises
    ------
    BadInputError
        If the file cannot be read, has another header, has bad rows (cells that are missing, too
        many, not numeric or out of range) that are not to be dropped, or hardly any other, or is
        of more than 1 GB.

    Warns
    -----
    UserWarning
        If images are dark on white; these are negated.
    """
    good, problems = [], []
    # Bytes that are no text become cells that are no numbers, and are reported as such.
    with (
        _named(path, "begin it with that"),
        _opened(Path(path)) as file,
    ):
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        rows = csv.reader(_lines(text))
        _check_header(next(rows, []))
        for row in filter(None, rows):  # a blank line is an empty list
            try:
                good.append(_pack(row))
            except LookupError:
                problems.append(f"row {rows.line_num}{_row_problem(row)}")
                if len(problems) > max(_MANY, len(good)):
                    on_bad = "raise"
                    break
    _check_problems(path, len(good), problems, on_bad)
    table = np.frombuffer(b"".join(good), np.uint8).reshape(-1, len(_HEADER))
    images = table[:, 1:].reshape(-1, *IMAGE_SHAPE)
    return Labelled(_on_black(path, images), table[:, 0].astype(np.int64))


def read_folder(path: str | Path, *, on_bad: OnBad = "raise") -> Labelled:
    """Return the PNGs in a folder with one sub-folder a class; hidden files are passed over.

    Parameters
    ----------
    path : str or Path
        The folder. Its sub-folders are named after the classes, ``T-shirt_top`` for
        "T-shirt/top", or after their numbers ``0`` to ``9``. The PNGs have 28x28 pixels and are
        greyscale (or RGB in which nothing is coloured).
    on_bad : {"raise", "drop"}
        What to do about bad files: list them in an error, or leave them out with a warning.

    Returns
    -------
    Labelled
        Sorted by the names of the sub-folders and files.

    Raises
    ------
    BadInputError
        If the folder cannot be read or has no sub-folders, a sub-folder's name is no class, a
        sub-folder is empty, or there are bad files that are not to be dropped, or no good ones.

    Warns
    -----
    UserWarning
        If images are dark on white; these are negated.
    """
    path = Path(path)
    images, labels, problems = [], [], []
    for folder, label in _class_folders(path):
        for file in _visible(folder):
            try:
                images.append(_read_png(file))
                labels.append(label)
            except ValueError as error:
                problems.append(f"{file.relative_to(path)} {error}")
    _check_problems(path, len(images), problems, on_bad)
    return Labelled(_on_black(path, np.stack(images)), np.array(labels, np.int64))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, gzipped or not."""
    with open_file(path) as stored:
        zipped = stored.read(2) == GZIP
        stored.seek(0)
        try:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=stored)) if zipped else stored
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"is damaged gzip ({error})") from error


def _lines(text: IO[str]) -> Iterator[str]:
    """Give the lines of a text, those that are too long in pieces, unless they are too many."""
    left = _MOST_BYTES
    while line := text.readline(_LONGEST_LINE):
        left -= len(line)
        if left < 0:
            raise ValueError(f"holds more than {_MOST_BYTES:,} characters")
        yield line


def _on_black(path: str | Path, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    images, negated = on_black(images)
    if negated.any():
        warnings.warn(
            f"{path}: {negated.sum():,} of {len(images):,} images are dark on white, and were "
            "negated.",
            stacklevel=3,
        )
    return images


@contextmanager
def _named(path: str | Path, remedy: str = "check the path") -> Iterator[None]:
    """Make what goes wrong with a file a BadInputError that names it."""
    try:
        yield
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except csv.Error as error:
        raise BadInputError(f"{path} is not a CSV file ({error}): {remedy}.") from error
    except ValueError as error:
        raise BadInputError(f"{path} {error}: {remedy}.") from error


def decompress(raw: bytes, limit: int) -> bytes:
    """Return what gzip packed, or the bytes as they are where it did not.

    Parameters
    ----------
    raw : bytes
        The whole file.
    limit : int
        How many bytes it unpacks to at most.

    Raises
    ------
    ValueError
        If the gzip is damaged, or unpacks to more; it says so, for a sentence that begins with the
        file's name.
    """
    if not raw.startswith(GZIP):
        return raw
    try:
        contents = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"has {len(raw):,} bytes of damaged gzip ({error})") from error
    if len(contents) > limit:
        raise ValueError(f"unpacks to more than {limit:,} bytes")
    return contents


def parse_idx(contents: bytes) -> NDArray[np.uint8]:
    """Return the array that an IDX file holds.

    Parameters
    ----------
    contents : bytes
        The whole file, decompressed.

    Returns
    -------
    ndarray, uint8
        In the shape that the header gives; writable.

    Raises
    ------
    ValueError
        If it is no such file; it says why, for a sentence that begins with the file's name.

    Notes
    -----
    Format: https://yann.lecun.com/exdb/mnist/

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    array([7, 8, 9], dtype=uint8)
    """
    return _idx_array(io.BytesIO(contents))


def _idx_array(file: IO[bytes]) -> NDArray[np.uint8]:
    """Return the array of an open IDX file, of which no more is read than its header promises."""
    # Two zero bytes, the type (8 is unsigned byte), the number of dimensions, then each of them
    # as a big-endian 32-bit integer.
    magic = file.read(4)
    n_dims = magic[3] if len(magic) > 3 else 0
    sizes = file.read(4 * n_dims)
    if magic[:3] != _IDX or len(magic) < 4 or len(sizes) < 4 * n_dims:
        raise ValueError(
            f"begins with {magic.hex(' ') or 'nothing'} instead of the header of an IDX file of "
            "bytes, 00 00 08 and the number of dimensions, then each of them"
        )
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    expected = math.prod(shape)
    if expected > _MOST_BYTES:
        raise ValueError(f"is of shape {shape}, which is more than {_MOST_BYTES:,} bytes")
    contents = file.read(expected + 1)
    if len(contents) > expected:
        raise ValueError(f"is followed by other data, behind the {expected:,} of shape {shape}")
    if len(contents) < expected:
        raise ValueError(
            f"has {len(contents):,} bytes after its header instead of the {expected:,} of shape "
            f"{shape}: it is cut off"
        )
    # A copy, because the bytes are read-only.
    return np.frombuffer(contents, np.uint8).reshape(shape).copy()


def _check_problems(path: str | Path, n_good: int, problems: list[str], on_bad: OnBad) -> None:
    """Raise or warn about the bad images among those read."""
    if on_bad not in ("raise", "drop"):
        raise unknown("on_bad", on_bad, ("raise", "drop"))
    total = n_good + len(problems)
    if not total:
        raise BadInputError(f"{path} holds no image: check the path.")
    more = f"; and {len(problems) - 5:,} more" if len(problems) > 5 else ""
    bad = f"{len(problems):,} of {total:,} images are bad ({'; '.join(problems[:5])}{more})"
    if problems and (on_bad == "raise" or not n_good):
        few = ", or leave a few out (on_bad='drop', --on-bad drop)" if n_good else ""
        raise BadInputError(f"{path}: {bad}: correct them{few}.")
    if problems:
        warnings.warn(f"{path}: {bad} and left out.", stacklevel=3)


def _check_header(header: list[str]) -> None:
    if header != _HEADER and header not in _OTHER_HEADERS:
        raise ValueError(
            f"begins with {','.join(header)[:60]!r} ({len(header)} columns) instead of the header "
            "label,pixel1,…,pixel784 (785)"
        )


def _pack(row: list[str]) -> bytes:
    """Return the row as bytes, or raise a LookupError for a bad cell or number of cells."""
    cells = bytes(map(_NUMBERS.__getitem__, row))  # fast, for 60,000 rows of 785 cells
    if len(cells) != len(_HEADER) or cells[0] >= N_CLASSES:
        raise LookupError
    return cells


def _row_problem(row: list[str]) -> str:
    if len(row) != len(_HEADER):
        return f" has {len(row)} cells instead of {len(_HEADER)}"
    wrong = []
    for column, cell in zip(_HEADER, row, strict=True):
        largest = 9 if column == "label" else 255
        if _NUMBERS.get(cell, 256) > largest:
            found = repr(cell) if cell.strip() else "missing"
            wrong.append(f", column {column} is {found} instead of a whole number, 0 to {largest}")
    more = f" and {len(wrong) - 1} more in this row" if len(wrong) > 1 else ""
    return f"{wrong[0]}{more}{_scaling(row[1:])}"


def _scaling(cells: list[str]) -> str:
    """Return what to do about pixels that lie between 0 and 1."""
    try:
        pixels = [float(cell) for cell in cells]
    except ValueError:
        return ""
    between = any(0 < pixel < 1 for pixel in pixels) and all(0 <= pixel <= 1 for pixel in pixels)
    return "; pixels from 0 to 1 are to be multiplied by 255 and rounded" if between else ""


def _class_folders(path: Path) -> list[tuple[Path, int]]:
    numbers = {name.replace("/", "_"): i for i, name in enumerate(CLASS_NAMES)}
    numbers |= {str(i): i for i in range(N_CLASSES)}
    with _named(path):
        folders = [folder for folder in _visible(path) if folder.is_dir()]
    if not folders:
        raise BadInputError(f"{path} has no sub-folders: make one a class, named {list(numbers)}.")
    for folder in folders:
        if folder.name not in numbers:
            raise unknown("class folder", str(folder), numbers)
        if not _visible(folder):
            raise BadInputError(f"{folder} is empty: put PNGs into it, or delete it.")
    return [(folder, numbers[folder.name]) for folder in folders]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read_png(path: Path) -> NDArray[np.uint8]:
    """Return the pixels, or raise a ValueError that says what is wrong with the file."""
    try:
        with open_file(path) as file, Image.open(file, formats=["PNG"]) as image:
            mode, (width, height) = image.mode, image.size
            pixels = np.asarray(image) if (height, width) == IMAGE_SHAPE else None
    # What Pillow raises for damaged files: a broken chunk is a SyntaxError to it.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("is not a readable PNG") from error
    if pixels is None:
        raise ValueError(f"is {width}x{height} pixels instead of 28x28")
    if mode == "RGB" and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    if mode != "L":
        raise ValueError(f"has mode {mode} instead of 8-bit greyscale (mode L)")
    return pixels
