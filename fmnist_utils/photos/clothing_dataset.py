"""Real photos of clothes, to measure with, never to train on.

They are the validation part of the public "clothing dataset (small)" (Alexey Grigorev and others,
CC0, https://github.com/alexeygrigorev/clothing-dataset-small), 341 photos in ten folders. A third
of each folder, rounded down, is for tuning (thresholds, which augmentation, which steps from photo
to image). Results are measured on the others, except those that an earlier third held.

The folders do not say which of the ten classes of Fashion-MNIST a shop would choose (a zipped
jacket lies under "longsleeve"), so ``photos.csv`` has two judgements of each photo as well, made
from its picture alone in two random orders, without folder, network or the other judgement in
sight; the likelier class first where two were open.
"""

import csv
import hashlib
import importlib.resources
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm import tqdm

from fmnist_utils import paths
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.data.downloads import get
from fmnist_utils.errors import FailureError, unknown
from fmnist_utils.files import atomic_write

COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
_MOST_BYTES = 2_000_000  # of a photo; the largest has a tenth
_ADDRESS = f"https://raw.githubusercontent.com/alexeygrigorev/clothing-dataset-small/{COMMIT}"

# Folder: the answers that are right; none where the garment is none of the ten.
RIGHT_ANSWERS: dict[str, frozenset[int]] = {
    folder: frozenset(CLASS_NAMES.index(name) for name in names)
    for folder, names in {
        "t-shirt": ("T-shirt/top",),
        "pants": ("Trouser",),
        "longsleeve": ("Pullover", "Shirt"),  # a shirt where it buttons; the folder does not tell
        "dress": ("Dress",),
        "outwear": ("Coat",),
        "shirt": ("Shirt",),
        "shoes": ("Sandal", "Sneaker", "Ankle boot"),
        "shorts": (),
        "skirt": (),
        "hat": (),
    }.items()
}

Part = Literal["tuning", "measuring"]


class Photograph(NamedTuple):
    """A photo's file and the kind of garment on it.

    Parameters
    ----------
    path : Path
        A JPEG with the published content.
    folder : str
        A key of `RIGHT_ANSWERS`.
    judged : frozenset of int
        The answers that one judgement or the other found right; empty where none of the ten is.

    Examples
    --------
    >>> Photograph(Path("shirt.jpg"), "shirt").folder
    'shirt'

    Notes
    -----
    Introduced in notebook 00.
    """

    path: Path
    folder: str
    judged: frozenset[int] = frozenset()


def load(part: Part) -> list[Photograph]:
    """Return the photos of one part; those that ``FMNIST_PHOTOS_DIR`` lacks are downloaded.

    Parameters
    ----------
    part : {"tuning", "measuring"}
        A third of each folder, or nearly all of the rest.

    Raises
    ------
    BadInputError
        If the part is unknown.
    FailureError
        If a photo cannot be downloaded, or differs from the published one.

    Notes
    -----
    Introduced in notebook 00.

    Examples
    --------
    >>> from fmnist_utils.photos import clothing_dataset
    >>> clothing_dataset.load("test")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    fmnist_utils.errors.BadInputError: ... choose one of tuning, measuring.
    """
    if part not in ("tuning", "measuring"):
        raise unknown("part of the photos", part, ("tuning", "measuring"))
    wanted = [row for row in _listed() if row["part"] == part]
    folder = paths.photos_dir()
    found = {row["path"]: folder / row["path"] for row in wanted}
    missing = [row for row in wanted if not found[row["path"]].exists()]
    if missing:
        _download(missing, folder)
    for row in wanted:
        if hashlib.sha256(found[row["path"]].read_bytes()).hexdigest() != row["sha256"]:
            raise FailureError(
                f"{found[row['path']]} is not the published photo: delete it, and it is "
                "downloaded again."
            )
    return [
        Photograph(found[row["path"]], row["path"].split("/")[0], _judged(row)) for row in wanted
    ]


def _judged(row: Mapping[str, str]) -> frozenset[int]:
    answers = {*row["first_pass"].split(";"), *row["second_pass"].split(";")}
    return frozenset(CLASS_NAMES.index(name) for name in answers - {"none"})


def _listed() -> list[dict[str, str]]:
    text = importlib.resources.files(__package__).joinpath("photos.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _published(row: Mapping[str, str]) -> bytes:
    content = get(f"{_ADDRESS}/validation/{row['path']}", most_bytes=_MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise ValueError(f"what was sent for {row['path']} is not the published photo")
    return content


def _download(rows: list[dict[str, str]], folder: Path) -> None:
    print(f"Downloading {len(rows)} photos into {folder}.", file=sys.stderr)
    try:
        for row in tqdm(rows, unit="photo", disable=None):
            content = _published(row)
            with atomic_write(folder / row["path"]) as unfinished:
                unfinished.write_bytes(content)
    except (OSError, ValueError) as error:
        raise FailureError(
            f"{len(rows)} photos are not in {folder} and cannot be downloaded ({error}): connect "
            "to a network, or set FMNIST_PHOTOS_DIR to a folder that has them."
        ) from error
