"""The published files of both data sets: found, verified, downloaded where they are not."""

import gzip
import hashlib
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fmnist_utils import paths
from fmnist_utils.data.downloads import get
from fmnist_utils.data.labelled import Labelled
from fmnist_utils.data.readers import GZIP, decompress, parse_idx
from fmnist_utils.errors import FailureError, unknown
from fmnist_utils.files import atomic_write, open_file


class FileStatus(NamedTuple):
    """Where one published file was found, and whether its contents are the published ones.

    Attributes
    ----------
    dataset, name : str
        The data set, and the file's name without ``.gz``.
    path : Path or None
        The file found, or None.
    state : str
        ``"verified"``, ``"missing"`` or ``"damaged: <why>"``.
    """

    dataset: str
    name: str
    path: Path | None
    state: str


class _Published(NamedTuple):
    title: str
    folder: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]  # of the decompressed files: mirrors differ in their gzip headers


TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

PUBLISHED = {
    "fashion_mnist": _Published(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        sha256={
            TRAIN[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
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
            TRAIN[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST[0]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST[1]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
}

DATASETS = (*PUBLISHED, "sketches")

_MOST_BYTES = 16 + 60_000 * 28 * 28  # of a published file: the training images, not gzipped


def load(dataset: str, names: tuple[str, str]) -> Labelled:
    """Return the images and labels that two published files hold.

    Parameters
    ----------
    dataset : str
        A key of `PUBLISHED`.
    names : tuple of str
        `TRAIN` or `TEST`.

    Returns
    -------
    Labelled
        In the published order.

    Raises
    ------
    FailureError
        If a file is neither found nor downloaded.
    """
    images, labels = (parse_idx(_contents(dataset, name)) for name in names)
    return Labelled(images, labels.astype(np.int64))


def check_dataset(dataset: str) -> None:
    """Raise BadInputError unless a data set is one of `DATASETS`.

    Parameters
    ----------
    dataset : str
        The name received.
    """
    if dataset not in DATASETS:
        raise unknown("data set", dataset, DATASETS)


def status(dataset: str) -> list[FileStatus]:
    """Return whether each published file of a data set is here and whole; downloads nothing.

    Parameters
    ----------
    dataset : str
        One of `DATASETS`.

    Returns
    -------
    list of FileStatus
        Four; none for the sketches, which are drawn rather than stored.

    Raises
    ------
    BadInputError
        If the data set is unknown.
    """
    check_dataset(dataset)
    if dataset == "sketches":
        return []
    return [_file_status(dataset, name) for name in PUBLISHED[dataset].sha256]


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
            with open_file(path) as file:
                return path, _verified(file.read(_MOST_BYTES + 1), dataset, name), problems
        except FileNotFoundError:
            continue
        except OSError as error:
            if path.parent in _folders(dataset):
                problems[path] = f"cannot be read ({error.strerror})"
        except ValueError as error:
            problems[path] = str(error)
    return None, b"", problems


def _folders(dataset: str) -> list[Path]:
    return [folder / PUBLISHED[dataset].folder for folder in paths.data_dirs()]


def _candidates(dataset: str, name: str) -> list[Path]:
    # A download ends in .gz: looked for first, it takes the place of a bad file of either name.
    names = (f"{name}.gz", name, name.replace("-idx", ".idx"))  # the last, as Kaggle unpacks them
    return [folder / file for folder in _folders(dataset) + _elsewhere(dataset) for file in names]


def _elsewhere(dataset: str) -> list[Path]:
    """Return where else people keep the four files: the hashes tell which data set's they are."""
    title = PUBLISHED[dataset].title.replace("-", "")
    inside = (PUBLISHED[dataset].folder, dataset, f"{title}/raw", ".")  # torchvision's third
    roots = [*paths.data_dirs(), paths.keras_home()]
    return [root / folder for root in roots for folder in inside]


def _verified(raw: bytes, dataset: str, name: str) -> bytes:
    """Return the decompressed contents, or raise a ValueError that says what is wrong with them."""
    contents = decompress(raw, _MOST_BYTES)
    found, expected = hashlib.sha256(contents).hexdigest(), PUBLISHED[dataset].sha256[name]
    if found == expected:
        return contents
    for other, published in PUBLISHED.items():
        for file, known in published.sha256.items():
            if known == found:
                raise ValueError(
                    f"holds {_describe(other, file)} instead of {_describe(dataset, name)}"
                )
    raise ValueError(
        f"has the SHA-256 {found[:12]}… once decompressed, instead of {expected[:12]}…"
    )


def _describe(dataset: str, name: str) -> str:
    part, kind, _ = name.replace("t10k", "test").split("-", 2)
    return f"{PUBLISHED[dataset].title}'s {part} {kind}"


def _file_status(dataset: str, name: str) -> FileStatus:
    path, _, problems = _search(dataset, name)
    bad, reason = next(iter(problems.items()), (None, ""))
    state = "verified" if path else f"damaged: {reason}" if bad else "missing"
    return FileStatus(dataset, name, path or bad, state)


def _download(dataset: str, name: str, problems: dict[Path, str]) -> bytes:
    """Try the mirrors in turn; what arrives is verified before any of it is written."""
    published = PUBLISHED[dataset]
    failures = []
    for mirror in published.mirrors:
        url = f"{mirror}{name}.gz"
        print(f"Downloading {_describe(dataset, name)} from {url}", file=sys.stderr)
        try:
            raw = get(url, most_bytes=_MOST_BYTES, progress=sys.stderr.isatty())
            contents = _verified(raw, dataset, name)
        except OSError as error:  # a TimeoutError has no text
            failures.append(f"{mirror} failed with {str(error) or type(error).__name__}")
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


def _keep(raw: bytes, dataset: str, name: str) -> None:
    """Write into the first folder that takes it."""
    refusals = []
    for folder in _folders(dataset):
        try:
            with atomic_write(folder / f"{name}.gz") as path:
                # A proxy, or the client, may have unpacked it on the way.
                path.write_bytes(raw if raw.startswith(GZIP) else gzip.compress(raw, mtime=0))
        except FailureError as error:
            refusals.append(f"{folder}: {error.__cause__}")
        else:
            return
    raise FailureError(
        f"{PUBLISHED[dataset].title} was downloaded but cannot be kept ({'; '.join(refusals)}): "
        "free some space there, or set FMNIST_DATA_DIR to a folder that can be written to."
    )
