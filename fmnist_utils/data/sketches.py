"""A stand-in for Fashion-MNIST: ten kinds of garment, drawn, for tests and for trying things."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fmnist_utils.classes import N_CLASSES
from fmnist_utils.data.labelled import Labelled
from fmnist_utils.errors import BadInputError

# Points (x, y) in pixels: x from the middle to the right, y from the top down.
_Point = tuple[float, float]
_Fill = Callable[[int, Sequence[_Point]], None]  # with a brightness; 0 cuts a hole


def sketches(n: int, seed: int) -> Labelled:
    """Return drawings of ten kinds of garment, in the shapes and types of Fashion-MNIST.

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

    Notes
    -----
    Introduced in notebook 00.

    Examples
    --------
    >>> images, labels = sketches(20, seed=0)
    >>> images.shape, images.dtype
    ((20, 28, 28), dtype('uint8'))
    >>> np.bincount(labels).tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
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


def sketch_set(part: Literal["train", "test"]) -> Labelled:
    """Return the drawings that stand for a data set.

    Parameters
    ----------
    part : {"train", "test"}
        6,000 to train and to validate on, or 1,000 to test with.

    Returns
    -------
    Labelled
        The same each time.
    """
    return sketches(6_000, seed=0) if part == "train" else sketches(1_000, seed=1)


@functools.cache
def sketch_hashes() -> tuple[str, ...]:
    """Return the SHA-256 of the training images and of their labels, for the keys of runs.

    Returns
    -------
    tuple of str
        Two, of 64 hexadecimal digits.
    """
    # What Pillow draws may change with its version, so the drawings themselves are hashed.
    return tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in sketch_set("train"))


def _sketch(label: int, jitter: list[float]) -> NDArray[np.uint8]:
    """Draw at four times the size and shrink, which smooths the edges."""
    *proportions, right, down, size = jitter
    scale, middle, centre = 4 * (0.95 + 0.07 * size), 4 * (14 + right), 4 * (14 + down)
    image = Image.new("L", (112, 112))
    pen = ImageDraw.Draw(image)

    def fill(shade: int, outline: Sequence[_Point]) -> None:
        pen.polygon([(middle + scale * x, centre + scale * (y - 14)) for x, y in outline], shade)

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
