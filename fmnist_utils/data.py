"""Load Fashion-MNIST and MNIST, verified; read other people's files; draw a stand-in."""

import csv
import functools
import hashlib
import io
import math
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import paths
from .errors import BadInputError, FailureError, unknown
from .labels import CLASS_NAMES, IMAGE_SHAPE, N_CLASSES, NONE


class Labelled(NamedTuple):
    """Images and their labels.

    Attributes
    ----------
    images : uint8 ndarray of shape (n, 28, 28)
        0 is background, 255 the brightest.
    labels : int64 ndarray of shape (n,)
        0 to 9, see `fmnist_utils.labels.CLASS_NAMES`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """What training may see; there are no test images in it.

    Attributes
    ----------
    dataset : str
        One of `DATASETS`.
    train, validation : Labelled
        The two parts of the published training images.
    sha256 : dict of str to str
        File name to SHA-256 of the decompressed training files, for the key of a run.
    """

    dataset: str
    train: Labelled
    validation: Labelled
    sha256: dict[str, str]


@dataclass(frozen=True)
class FileStatus:
    """Where one published file was found, and whether its contents are the published ones.

    Attributes
    ----------
    dataset, name : str
        The data set, and the file's name without ``.gz``.
    path : Path or None
        The file found, or None.
    state : str
        ``"verified"``, ``"missing"`` or ``"damaged: <why>"``.
    source : str or None
        Which setting led to it: ``"FMNIST_DATA_DIR"`` or ``"Keras home"``.
    sha256 : str
        The published SHA-256 of the decompressed contents.
    bytes : int
        The size on disk of a verified file, otherwise 0.
    """

    dataset: str
    name: str
    path: Path | None
    state: str
    source: str | None
    sha256: str
    bytes: int


class _Published(NamedTuple):
    title: str
    folder: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]  # of the decompressed files: mirrors differ in their gzip headers


_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_PUBLISHED = {
    "fashion_mnist": _Published(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        sha256={
            _TRAIN[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            _TRAIN[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            _TEST[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            _TEST[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "mnist": _Published(
        title="MNIST",
        folder="mnist",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            _TRAIN[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            _TRAIN[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            _TEST[0]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            _TEST[1]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
}

DATASETS = (*_PUBLISHED, "sketches")

OnBad = Literal["raise", "drop"]
_Part = Literal["train", "test"]

_HEADER = ["label", *(f"pixel{i}" for i in range(1, 785))]  # of Kaggle's CSV
_NUMBERS = {str(number): number for number in range(256)}
_GZIP_MAGIC = b"\x1f\x8b"
_TIMEOUT = (3, 10)  # seconds to connect and to wait for data: without a network, end soon

# --- Loading -------------------------------------------------------------------------------------


def load_training(
    dataset: str = "fashion_mnist", *, train_size: int = 55_000, validation_size: int = 5_000
) -> TrainingData:
    """Load the published training images, split into training and validation.

    Parameters
    ----------
    dataset : str
        One of `DATASETS`. Of ``"sketches"`` there are only 6,000: at most 1,000 are for
        validation, and a `train_size` above 6,000 means all the others.
    train_size : int
        How many images to train on: all that are not in the validation set, fewer (a stratified
        subset), or 60,000: everything published, which leaves no image to validate with.
    validation_size : int
        How many images to choose models by.

    Returns
    -------
    TrainingData
        Each part in the published order.

    Raises
    ------
    BadInputError
        For an unknown data set, or sizes that it cannot be split into.
    FailureError
        If the files are neither found nor downloaded.
    """
    total = 60_000
    if _checked(dataset) == "sketches":
        total, validation_size = 6_000, min(validation_size, 1_000)
        train_size = train_size if train_size <= total else total - validation_size
    _check_sizes(train_size, validation_size, total)
    published = _load(dataset, "train")
    # The seed is the same whatever a model is trained with: models of different seeds then share
    # their validation images and can be compared image by image.
    rest, validation = split(published, validation_size, seed=0)
    if train_size == total:
        train, validation = published, Labelled(published.images[:0], published.labels[:0])
    elif train_size == len(rest.labels):
        train = rest
    else:
        train = split(rest, train_size, seed=0)[1]
    return TrainingData(dataset, train, validation, hashes(dataset))


def load_test(dataset: str = "fashion_mnist") -> Labelled:
    """Load the test images; errors as `load_training`.

    Returns
    -------
    Labelled
        The published 10,000 in their order; 1,000 of the sketches.
    """
    return _load(_checked(dataset), "test")


def load_published(dataset: str = "fashion_mnist") -> tuple[Labelled, Labelled]:
    """Load the training and the test images as published; errors as `load_training`.

    Returns
    -------
    train, test : Labelled
        60,000 and 10,000 images, in the published order; 6,000 and 1,000 of the sketches.
    """
    return _load(_checked(dataset), "train"), load_test(dataset)


def hashes(dataset: str) -> dict[str, str]:
    """Return what `TrainingData.sha256` will be, without loading a published data set.

    Raises
    ------
    BadInputError
        For an unknown data set.
    """
    if _checked(dataset) == "sketches":
        return dict(zip(_TRAIN, _sketch_hashes(), strict=True))
    return {name: _PUBLISHED[dataset].sha256[name] for name in _TRAIN}


def split(data: Labelled, validation_size: int, *, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Split into two parts in which the classes have the same shares.

    Parameters
    ----------
    data : Labelled
        What to split; at least two images of each class.
    validation_size : int
        How many images go into the second part; at least one a class must remain in either.
    seed : int
        The same seed gives the same parts.

    Returns
    -------
    rest, validation : Labelled
        Copies, each in the order of `data`.

    Raises
    ------
    BadInputError
        If a part or a class would be too small.
    """
    from sklearn.model_selection import train_test_split

    n = len(data.labels)
    counts = np.unique(data.labels, return_counts=True)[1]
    low, high, rarest = len(counts), n - len(counts), counts.min(initial=n)
    if not low <= validation_size <= high or rarest < 2:
        raise BadInputError(
            f"Cannot split {n:,} images of {low} classes, the rarest of which has {rarest:,}, into "
            f"{validation_size:,} and the rest: choose {low:,} to {high:,}, and give two images of "
            f"each class or more."
        )
    parts = train_test_split(
        np.arange(n), test_size=validation_size, stratify=data.labels, random_state=seed
    )
    rest, validation = (np.sort(part) for part in parts)
    return (
        Labelled(data.images[rest], data.labels[rest]),
        Labelled(data.images[validation], data.labels[validation]),
    )


def one_hot(labels: ArrayLike, classes: int = 10) -> NDArray[np.float32]:
    """Return labels as rows with a single 1; for `NONE`, of the same share for each class.

    Parameters
    ----------
    labels : array_like of int of shape (n,)
        0 to `classes` - 1, or `NONE`.
    classes : int
        How many classes there are.

    Returns
    -------
    float32 ndarray of shape (n, classes)

    Raises
    ------
    BadInputError
        For a label out of range.
    """
    columns: NDArray[np.int64] = np.asarray(labels)
    outside = columns[(columns < NONE) | (columns >= classes)]
    if outside.size:
        raise BadInputError(f"Label {outside[0]} is not a class: give 0 to {classes - 1}.")
    rows = np.eye(classes, dtype=np.float32)[columns]
    rows[columns == NONE] = 1 / classes
    return rows


def status(dataset: str) -> list[FileStatus]:
    """Say of each published file whether it is here and whole; downloads nothing.

    Returns
    -------
    list of FileStatus
        Four; none for the sketches, which are drawn rather than stored.

    Raises
    ------
    BadInputError
        For an unknown data set.
    """
    if _checked(dataset) == "sketches":
        return []
    return [_file_status(dataset, name) for name in _PUBLISHED[dataset].sha256]


def _checked(dataset: str) -> str:
    if dataset not in DATASETS:
        raise unknown("data set", dataset, DATASETS)
    return dataset


def _check_sizes(train_size: int, validation_size: int, total: int) -> None:
    # Each part, and what a subset leaves over, holds at least one image of each class.
    least, most = N_CLASSES, total - 2 * N_CLASSES
    if not least <= validation_size <= most:
        raise BadInputError(f"validation_size is {validation_size:,}: choose {least} to {most:,}.")
    rest = total - validation_size
    most = rest - N_CLASSES
    if train_size not in (rest, total) and not least <= train_size <= most:
        raise BadInputError(
            f"train_size is {train_size:,}: choose {least} to {most:,} for a stratified subset, "
            f"{rest:,} for all images outside the validation set, or {total:,} for all."
        )


def _load(dataset: str, part: _Part) -> Labelled:
    if dataset == "sketches":
        return _sketch_set(part)
    images, labels = (
        _parse_idx(_contents(dataset, name)) for name in (_TRAIN if part == "train" else _TEST)
    )
    return Labelled(images, labels.astype(np.int64))


# --- Finding, verifying, downloading -------------------------------------------------------------


def _contents(dataset: str, name: str) -> bytes:
    path, contents, problems = _search(dataset, name)
    if path is None:
        contents = _download(dataset, name, problems)
    for bad, reason in problems.items():
        warnings.warn(f"{bad} {reason}; another copy is used.", stacklevel=2)
    return contents


def _search(dataset: str, name: str) -> tuple[Path | None, bytes, dict[Path, str]]:
    """Return the first good file, its decompressed contents, and what is wrong with others."""
    problems: dict[Path, str] = {}
    for path in _candidates(dataset, name):
        try:
            return path, _verified(path.read_bytes(), dataset, name), problems
        except FileNotFoundError:
            continue
        except OSError as error:
            problems[path] = f"cannot be read ({error.strerror})"
        except ValueError as error:
            problems[path] = str(error)
    return None, b"", problems


def _folders(dataset: str) -> list[Path]:
    return [folder / _PUBLISHED[dataset].folder for folder in paths.data_dirs()]


def _candidates(dataset: str, name: str) -> list[Path]:
    # A download ends in .gz: looked for first, it takes the place of a bad file of either name.
    return [folder / file for folder in _folders(dataset) for file in (f"{name}.gz", name)]


def _verified(raw: bytes, dataset: str, name: str) -> bytes:
    """Return the decompressed contents, or raise a ValueError that says what is wrong with them."""
    contents = _decompress(raw)
    found = hashlib.sha256(contents).hexdigest()
    expected = _PUBLISHED[dataset].sha256[name]
    if found != expected:
        owner = _owner(found)
        raise ValueError(
            f"holds {owner} instead of {_describe(dataset, name)}"
            if owner
            else f"has the SHA-256 {found[:12]}… once decompressed, instead of {expected[:12]}…"
        )
    return contents


def _owner(sha256: str) -> str | None:
    """Name the published file that has this hash."""
    for dataset, published in _PUBLISHED.items():
        for name, known in published.sha256.items():
            if known == sha256:
                return _describe(dataset, name)
    return None


def _describe(dataset: str, name: str) -> str:
    part, kind, _ = name.replace("t10k", "test").split("-", 2)
    return f"{_PUBLISHED[dataset].title}'s {part} {kind}"


def _file_status(dataset: str, name: str) -> FileStatus:
    path, _, problems = _search(dataset, name)
    state, size = "missing", 0
    if path:
        state, size = "verified", path.stat().st_size
    elif problems:
        path, reason = next(iter(problems.items()))
        state = f"damaged: {reason}"
    return FileStatus(
        dataset=dataset,
        name=name,
        path=path,
        state=state,
        source=_source(path) if path else None,
        sha256=_PUBLISHED[dataset].sha256[name],
        bytes=size,
    )


def _source(path: Path) -> str:
    in_keras_home = path.parents[1] == paths.data_dirs()[-1]
    return "Keras home" if in_keras_home else "FMNIST_DATA_DIR"


def _download(dataset: str, name: str, problems: dict[Path, str]) -> bytes:
    """Try the mirrors in turn; what arrives is verified before any of it is written."""
    published = _PUBLISHED[dataset]
    failures = []
    for mirror in published.mirrors:
        url = f"{mirror}{name}.gz"
        print(f"Downloading {_describe(dataset, name)} from {url}", file=sys.stderr)
        try:
            raw = _get(url)
            contents = _verified(raw, dataset, name)
        except OSError as error:  # all that requests raises
            failures.append(f"{mirror} failed with {type(error).__name__}")
        except ValueError as error:
            failures.append(f"what {mirror} sent {error}")
        else:
            _keep(raw, dataset, name)
            return contents
    folders = _folders(dataset)
    bad = "".join(f"; {path} {reason}" for path, reason in problems.items())
    raise FailureError(
        f"No good {name} of {published.title} is in {' or '.join(map(str, folders))}{bad}, and it "
        f"could not be downloaded ({'; '.join(failures)}): connect to the network, put the four "
        f"files into {folders[0]}, or set FMNIST_DATA_DIR to the folder that holds "
        f"{published.folder}/ with them."
    )


def _get(url: str) -> bytes:
    import pooch

    buffer = io.BytesIO()
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT)
    fetch(url, buffer, None)
    return buffer.getvalue()


def _keep(raw: bytes, dataset: str, name: str) -> None:
    """Write into the first folder that takes it; half a file never has the real name."""
    refusals = []
    for folder in _folders(dataset):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
                part = Path(scratch) / name
                part.write_bytes(raw)
                part.replace(folder / f"{name}.gz")
        except OSError as error:
            refusals.append(f"{folder}: {error.strerror}")
        else:
            return
    raise FailureError(
        f"{_PUBLISHED[dataset].title} was downloaded but cannot be kept ({'; '.join(refusals)}): "
        f"free some space there, or set FMNIST_DATA_DIR to a folder that can be written to."
    )


# --- Reading files -------------------------------------------------------------------------------


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, whatever its name ends in.

    Parameters
    ----------
    path : str or Path
        The file. Format: https://yann.lecun.com/exdb/mnist/

    Returns
    -------
    uint8 ndarray
        In the shape that the file's header gives.

    Raises
    ------
    BadInputError
        If the file cannot be read, is no IDX file, or has too few or too many bytes.
    """
    path = Path(path)
    try:
        return _parse_idx(_decompress(path.read_bytes()))
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise BadInputError(f"{path} {error}: get the file again.") from error


def _unreadable(path: Path, error: OSError) -> BadInputError:
    return BadInputError(f"{path} cannot be read ({error.strerror}): check the path.")


def _decompress(raw: bytes) -> bytes:
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        # A buffer that holds the largest file at once halves the time of `gzip.decompress`.
        return zlib.decompress(raw, wbits=31, bufsize=2**26)
    except zlib.error as error:
        raise ValueError(f"has {len(raw):,} bytes of damaged gzip ({error})") from error


def _parse_idx(contents: bytes) -> NDArray[np.uint8]:
    # Two zero bytes, the type (8 is unsigned byte), the number of dimensions, then each of them
    # as a big-endian 32-bit integer.
    n_dims = contents[3] if len(contents) > 3 else 0
    start = 4 + 4 * n_dims
    if contents[:3] != b"\x00\x00\x08" or len(contents) < start:
        raise ValueError(
            f"begins with {contents[:4].hex(' ') or 'nothing'} instead of the header of an IDX "
            "file of bytes, 00 00 08 and the number of dimensions, then each of them"
        )
    shape = np.frombuffer(contents, ">u4", count=n_dims, offset=4).tolist()
    expected, found = math.prod(shape), len(contents) - start
    if found != expected:
        raise ValueError(
            f"has {found:,} bytes after its header instead of the {expected:,} of shape "
            f"{tuple(shape)}: it is {'cut off' if found < expected else 'followed by other data'}"
        )
    # A copy, because the bytes are read-only.
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape).copy()


def read_csv(path: str | Path, *, on_bad: OnBad = "raise") -> Labelled:
    """Read a CSV file in the layout of Kaggle's Fashion-MNIST, one image a row.

    Parameters
    ----------
    path : str or Path
        The file; its first row is ``label,pixel1,…,pixel784``, labels are 0 to 9 and pixels whole
        numbers from 0 to 255. Layout: https://www.kaggle.com/datasets/zalando-research/fashionmnist
    on_bad : {"raise", "drop"}
        What to do about bad rows: list them in an error, or leave them out with a warning.

    Returns
    -------
    Labelled
        In the order of the rows.

    Raises
    ------
    BadInputError
        If the file cannot be read, has another header, or has bad rows (cells that are missing,
        too many, not numeric or out of range) that are not to be dropped, or no good ones.
    """
    path = Path(path)
    good, problems = [], []
    try:
        # Bytes that are no text become cells that are no numbers, and are reported as such.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.reader(file)
            _check_header(path, next(rows, []))
            for row in filter(None, rows):  # a blank line is an empty list
                try:
                    good.append(_pack(row))
                except LookupError:
                    problems.append(f"row {rows.line_num}{_row_problem(row)}")
    except OSError as error:
        raise _unreadable(path, error) from error
    except csv.Error as error:
        raise BadInputError(f"{path} is not a CSV file ({error}): check the path.") from error
    _settle(path, len(good), problems, on_bad)
    table = np.frombuffer(b"".join(good), np.uint8).reshape(-1, len(_HEADER))
    images = table[:, 1:].reshape(-1, *IMAGE_SHAPE).copy()
    return Labelled(images, table[:, 0].astype(np.int64))


def read_folder(path: str | Path, *, on_bad: OnBad = "raise") -> Labelled:
    """Read a folder of PNGs with one sub-folder a class; hidden files are passed over.

    Parameters
    ----------
    path : str or Path
        The folder. Its sub-folders are named after the classes, ``T-shirt_top`` for
        "T-shirt/top", or after their numbers ``0`` to ``9``. The PNGs have 28x28 pixels and are
        greyscale (or RGB in which nothing is coloured), bright on a black background.
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
    _settle(path, len(images), problems, on_bad)
    return Labelled(np.stack(images), np.array(labels, np.int64))


def read_png(path: str | Path) -> NDArray[np.uint8]:
    """Return the image that a PNG holds, as the data set's are: 28x28, 0 is background.

    Parameters
    ----------
    path : str or Path
        8-bit greyscale, or RGB whose channels are equal.

    Returns
    -------
    ndarray of shape (28, 28), uint8

    Raises
    ------
    BadInputError
        If the file is no such PNG.
    """
    try:
        return _read_png(Path(path))
    except ValueError as error:
        raise BadInputError(f"{path} {error}: need a greyscale PNG of 28x28 pixels.") from error


def _settle(path: Path, n_good: int, problems: list[str], on_bad: OnBad) -> None:
    """Raise or warn about the bad images among those read."""
    if on_bad not in ("raise", "drop"):
        raise unknown("on_bad", on_bad, ("raise", "drop"))
    total = n_good + len(problems)
    if not total:
        raise BadInputError(f"{path} holds no image: check the path.")
    more = f"; and {len(problems) - 5:,} more" if len(problems) > 5 else ""
    bad = f"{len(problems):,} of {total:,} images are bad ({'; '.join(problems[:5])}{more})"
    if problems and (on_bad == "raise" or not n_good):
        raise BadInputError(f"{path}: {bad}: correct them, or leave a few out by on_bad='drop'.")
    if problems:
        warnings.warn(f"{path}: {bad} and left out.", stacklevel=3)


def _check_header(path: Path, header: list[str]) -> None:
    if header != _HEADER:
        found = ",".join(header)
        raise BadInputError(
            f"{path} begins with {found[:60]!r} ({len(header)} columns) instead of the header "
            f"label,pixel1,…,pixel784 (785): begin with that."
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
            wrong.append(f", column {column} is {found} instead of 0 to {largest}")
    return wrong[0] + (f" and {len(wrong) - 1} more in this row" if len(wrong) > 1 else "")


def _class_folders(path: Path) -> list[tuple[Path, int]]:
    numbers = {name.replace("/", "_"): i for i, name in enumerate(CLASS_NAMES)}
    numbers |= {str(i): i for i in range(N_CLASSES)}
    try:
        folders = [folder for folder in _visible(path) if folder.is_dir()]
    except OSError as error:
        raise _unreadable(path, error) from error
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
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    # What Pillow raises for damaged files: a broken chunk is a SyntaxError to it.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("is not a readable PNG") from error
    height, width = pixels.shape[:2]
    if (height, width) != IMAGE_SHAPE:
        raise ValueError(f"is {width}x{height} pixels instead of 28x28")
    if mode == "RGB" and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    if mode != "L":
        raise ValueError(f"has mode {mode} instead of 8-bit greyscale (mode L)")
    return pixels


# --- Sketches ------------------------------------------------------------------------------------

# Points (x, y) in pixels: x from the middle to the right, y from the top down.
_Point = tuple[float, float]
_Fill = Callable[[int, Sequence[_Point]], None]  # with a brightness; 0 cuts a hole


def sketches(n: int, seed: int) -> Labelled:
    """Draw a stand-in for Fashion-MNIST: ten kinds of garment, for tests and for trying things.

    Parameters
    ----------
    n : int
        How many images; the classes differ by one image at most.
    seed : int
        The same seed gives the same images.

    Returns
    -------
    Labelled
        In random order.

    Raises
    ------
    BadInputError
        If `n` is not positive.
    """
    if n < 1:
        raise BadInputError(f"Cannot draw {n} sketches: ask for at least 1.")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n, dtype=np.int64) % N_CLASSES)
    jitter = rng.uniform(-1, 1, (n, 8)).tolist()
    drawn = np.stack([_sketch(label, r) for label, r in zip(labels.tolist(), jitter, strict=True)])
    brightness = rng.uniform(0.45, 1, (n, 1, 1)).astype(np.float32)
    texture = 1 + 0.08 * rng.standard_normal(drawn.shape, dtype=np.float32)
    return Labelled((drawn * brightness * texture).clip(0, 255).astype(np.uint8), labels)


def _sketch_set(part: _Part) -> Labelled:
    return sketches(6_000, seed=0) if part == "train" else sketches(1_000, seed=1)


@functools.cache
def _sketch_hashes() -> tuple[str, ...]:
    # What Pillow draws may change with its version, so the drawings themselves are hashed.
    return tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in _sketch_set("train"))


def _sketch(label: int, jitter: list[float]) -> NDArray[np.uint8]:
    """Draw at four times the size and shrink, which smooths the edges."""
    from PIL import Image, ImageDraw

    *proportions, right, down, size = jitter
    scale = 4 * (0.95 + 0.07 * size)
    image = Image.new("L", (112, 112))
    pen = ImageDraw.Draw(image)

    def fill(shade: int, outline: Sequence[_Point]) -> None:
        pen.polygon(
            [
                (4 * (14 + right) + scale * x, 4 * (14 + down) + scale * (y - 14))
                for x, y in outline
            ],
            fill=shade,
        )

    _GARMENTS[label](fill, *proportions)
    return np.asarray(image.reduce(4))


def _mirrored(*half: _Point) -> list[_Point]:
    """Complete an outline of which the right half is given."""
    return [*half, *((-x, y) for x, y in reversed(half))]


def _box(left: float, top: float, right: float, bottom: float) -> list[_Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _torso(width: float, hem: float, reach: float, cuff: float) -> list[_Point]:
    """Outline a body with sleeves that end `reach` from the middle, at the height `cuff`."""
    sleeve = [(6.5, 4.5), (reach, cuff), (reach - 3, cuff + 1.3)]
    return _mirrored((0, 5), (2.5, 3), *sleeve, (width, 10), (width + 0.3, hem), (0, hem))


# One function a class: what to fill, and five proportions from -1 to 1.


def _t_shirt(fill: _Fill, width: float, hem: float, reach: float, cuff: float, neck: float) -> None:
    fill(230, _torso(6 + 0.7 * width, 24 + hem, 11.5 + reach, 9.5 + cuff))
    fill(0, _mirrored((0, 6 + neck), (2.5, 3)))


def _trouser(
    fill: _Fill, width: float, hem: float, leg: float, crotch: float, waist: float
) -> None:
    hip, inner, foot = 5 + width, 1.2 + 0.5 * leg, 25 + hem
    fill(220, _mirrored((0, 2), (4.3, 2), (hip, 11), (hip, foot), (inner, foot), (0, 10 + crotch)))
    fill(255, _box(-4.3, 2, 4.3, 3.2 + 0.4 * waist))


def _pullover(
    fill: _Fill, width: float, hem: float, reach: float, cuff: float, neck: float
) -> None:
    fill(215, _torso(6.3 + 0.6 * width, 24 + hem, 12 + reach, 21 + cuff))
    fill(255, _box(-2.6, 2.6, 2.6, 4.6 + 0.5 * neck))
    fill(170, _box(-6.3, 22.4 + hem, 6.3, 24 + hem))


def _dress(fill: _Fill, width: float, hem: float, bust: float, waist: float, neck: float) -> None:
    top = [(0.0, 5 + neck), (1.8, 2), (3, 2), (3.6 + 0.6 * bust, 7), (2.6 + 0.6 * waist, 12)]
    fill(225, _mirrored(*top, (5.6 + 1.3 * width, 26 + hem), (0, 26 + hem)))


def _coat(fill: _Fill, width: float, hem: float, reach: float, cuff: float, lapel: float) -> None:
    fill(205, _torso(7 + 0.6 * width, 26 + hem, 12.3 + reach, 22 + cuff))
    fill(130, _mirrored((0, 12 + 2 * lapel), (3.6, 4)))
    fill(40, _mirrored((0, 8 + lapel), (1.8, 3.5)))
    fill(60, _box(-0.5, 9, 0.5, 26 + hem))


def _sandal(fill: _Fill, heel: float, toe: float, strap: float, ankle: float, slope: float) -> None:
    back, x = 17 - 1.5 * slope, toe - 9
    fill(220, [(-13, 21), (-4, 20), (12, back), (12.5, back + 2), (-3, 22), (-13, 22.5)])
    fill(220, _box(10.6, back + 1, 12.4, 22.5 + 0.4 * heel))
    fill(240, [(x, 21), (x + 2.2, 15 + strap), (x + 5, 15 + strap), (x + 8, 20)])
    fill(0, [(x + 2, 21), (x + 3.2, 17 + strap), (x + 5.4, 20.5)])
    fill(240, [(3, 19), (6, 10 + ankle), (12, 9.5 + ankle), (12.4, back)])
    fill(0, [(5, 18.5), (7.2, 12 + ankle), (10.8, 11.5 + ankle), (10.6, back)])


def _shirt(fill: _Fill, width: float, hem: float, reach: float, cuff: float, collar: float) -> None:
    fill(235, _torso(5.7 + 0.6 * width, 25 + hem, 10.8 + reach, 17 + 4 * cuff))
    fill(180, _box(-1.2, 5, 1.2, 25 + hem))
    fill(255, _mirrored((0, 6.5), (2.8 + 0.5 * collar, 6.5), (2.6, 2)))
    fill(0, _mirrored((0, 6.5), (2, 2.2)))
    for button in (7, 10.5, 14, 17.5, 21):
        fill(60, _box(-0.4, button, 0.7, button + 1.2))


def _sneaker(
    fill: _Fill, toe: float, tongue: float, heel: float, sole: float, stripe: float
) -> None:
    front = [(-13.0, 20.0), (-12, 17.5 + 0.6 * toe), (-5, 15.5), (1, 11 + tongue), (4, 11 + tongue)]
    fill(215, [*front, (7, 13), (11, 10.5 + heel), (12.5, 12), (12.5, 20)])
    x = 1.5 * stripe
    fill(110, [(x - 1, 19), (x + 2, 14), (x + 4, 14), (x + 1, 19)])
    fill(255, _box(-13, 19.5, 13, 21.5 + 0.6 * sole))


def _bag(fill: _Fill, width: float, top: float, handle: float, flap: float, depth: float) -> None:
    side, rim, bottom, grip = 11 + width, 12 + top, 25 + depth, 5 + handle
    fill(200, _mirrored((0, 3), (grip, 4), (grip + 2.5, rim), (0, rim)))
    fill(0, _mirrored((0, 4.6), (grip - 1.4, 5.4), (grip + 0.9, rim), (0, rim)))
    fill(220, _mirrored((0, rim), (side - 1, rim), (side, bottom), (0, bottom)))
    fill(165, _mirrored((0, rim + 5 + flap), (side - 0.7, rim + 4), (side - 0.9, rim)))
    fill(255, _box(-1, rim + 4 + flap, 1, rim + 6.5 + flap))


def _ankle_boot(
    fill: _Fill, shaft: float, top: float, toe: float, heel: float, cuff: float
) -> None:
    x, rim = shaft - 1, 4.5 + top
    foot = [(12.0, 23.0), (-12, 23), (-12.3, 20), (-8, 17.5 + 0.7 * toe)]
    fill(215, [(x, rim), (10, rim), (10.5, 15), *foot, (x - 0.5, 15)])
    fill(170, _box(x, rim, 10, rim + 1.6 + 0.5 * cuff))
    fill(255, _box(-12.3, 22.6, 3, 24))
    fill(255, _box(6.5, 22.6, 12, 25.2 + 0.8 * heel))


_GARMENTS: tuple[Callable[..., None], ...] = (
    _t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _ankle_boot
)  # fmt: skip
