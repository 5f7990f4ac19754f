"""Synthetic photos: training images as photos would give them, and images of no class.

A catalogue shows its garments alike: upright, sleeves at the sides, shoes one by one from the left.
People lay them on a floor: turned, stretched, sleeves spread, shoes in pairs from above; and what
cuts them out of the floor makes mistakes. `training_images` makes such images of those of the
catalogue. No photo is used: all is drawn from the catalogue's own images.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from fmnist_utils import data
from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE, OOD
from fmnist_utils.photos import prepare

Image = NDArray[np.uint8]
Picture = NDArray[np.float32]
Random = np.random.Generator

_SIDE = 84  # pixels of a garment while it is worked on
_ROOM = 3 * _SIDE  # pixels of a canvas on which its parts are turned
_BACKGROUND = 12  # grey up to which a pixel is background; enlarging rings a little
_DARKEST = _BACKGROUND + 2  # grey of a garment
_SHOES = frozenset(map(CLASS_NAMES.index, ("Sandal", "Sneaker", "Ankle boot")))
_SLEEVED = frozenset(map(CLASS_NAMES.index, ("Pullover", "Coat", "Shirt")))
_TOPS = _SLEEVED | {CLASS_NAMES.index("T-shirt/top")}
_TROUSER, _DRESS, _SANDAL = map(CLASS_NAMES.index, ("Trouser", "Dress", "Sandal"))
# Logarithm of how much wider than on a catalogue's models they lie on a floor, at most; dresses of
# children are wide.
_WIDEN = dict.fromkeys(_TOPS, 0.35) | {_TROUSER: 0.3, _DRESS: 0.6}


def training_images(train: data.Labelled, seed: int) -> data.Labelled:
    """Return a synthetic photo of each image, and an image of no class for every fourth.

    Parameters
    ----------
    train : data.Labelled
        The catalogue's images.
    seed : int
        Of all random numbers.

    Returns
    -------
    data.Labelled
        First the synthetic photos, in the order and with the labels of the images; then the images
        of no class, with the label `classes.OOD`.

    Examples
    --------
    >>> from fmnist_utils import data
    >>> from fmnist_utils.photos import synthetic
    >>> synthetic.training_images(data.sketches(8, seed=0), seed=1).labels[8:].tolist()
    [-1, -1]
    """
    n = len(train.labels)
    chosen = np.random.default_rng(seed).permutation(n)[: n // 4]
    used = data.Labelled(train.images[chosen], train.labels[chosen])
    photos, outside = _each(photo_of, train, seed), _each(out_of_distribution, used, seed + 1)
    labels = np.concatenate([train.labels, np.full(len(chosen), OOD)])
    return data.Labelled(np.concatenate([photos, outside]), labels)


def photo_of(image: Image, label: int, rng: Random) -> Image:
    """Return a garment as a photo might show it, once it is cut out, trimmed and shrunk.

    Parameters
    ----------
    image : ndarray of shape (28, 28), uint8
        0 is background.
    label : int
        Its class.
    rng : numpy.random.Generator
        Decides what is done to it.
    """
    garment, kind = _enlarged(image), rng.random()
    if label in _SHOES and kind < 0.4:
        garment = _bounded(_shoes_from_above(image, label, rng))
    elif label in _SHOES and kind < 0.6:
        garment = _bounded(_pair(garment, rng))
    elif label in _SLEEVED and kind < 0.6:
        garment = _sleeves_spread(garment, rng)
    elif label == _TROUSER and kind < 0.6:
        garment = _legs_spread(garment, rng)
    degrees = 50 if label in _SHOES and 0.6 <= kind < 0.85 else 10
    widen = _WIDEN.get(label, 0)
    return _photographed(garment, rng, degrees=degrees, widen=widen)


def out_of_distribution(image: Image, label: int, rng: Random) -> Image:
    """Return an image of no class, made from one that has a class.

    Trousers are cut off above the knee, and of dresses the skirt is left; all others give their
    cloth to shorts, a skirt or a hat, or are torn to pieces.

    Parameters
    ----------
    image, label, rng
        As for `photo_of`.
    """
    kind = rng.random()
    if label not in (_TROUSER, _DRESS) and kind < 0.12:
        return _torn(image, rng)
    degrees, whole = 8, _trimmed(_enlarged(image))
    height = len(whole)
    if label == _TROUSER:
        spread = _trimmed(_legs_spread(whole, rng))
        part, widen = spread[: round(height * rng.uniform(0.3, 0.6))], rng.uniform(1, 1.8)
    elif label == _DRESS:
        part, widen = whole[round(height * rng.uniform(0.4, 0.6)) :], rng.uniform(1, 1.5)
    elif kind < 0.42:
        part, widen = _shorts(image, rng), 1.0
    elif kind < 0.74:
        part, widen = _skirt(image, rng), 1.0
    else:
        part, widen, degrees = _hat(image, rng), 1.0, 20
    garment = _bounded(_resized(part, round(part.shape[1] * widen), part.shape[0]))
    return _photographed(garment, rng, degrees=degrees)


# --- Shapes ---------------------------------------------------------------------------------------


def _sleeves_spread(garment: Picture, rng: Random) -> Picture:
    """Return a top with its long sleeves, if it has any, turned outwards at the shoulders."""
    whole = _trimmed(garment)
    height, width = whole.shape
    below = whole[round(0.6 * height) : round(0.85 * height)] > _BACKGROUND
    edge = max(2, round(0.12 * width))
    if min(below[:, :edge].mean(), below[:, -edge:].mean()) < 0.25:
        return garment
    centre, half = (width - 1) / 2, rng.uniform(0.52, 0.66) * width / 2
    across, down = np.arange(width) - centre, np.arange(height)[:, np.newaxis]
    shoulder = 0.12 * height
    body = (np.abs(across) <= half + 1.5) | (down < round(1.6 * shoulder))
    sleeves = [(side * across >= half) & (down >= round(0.6 * shoulder)) for side in (-1, 1)]
    joints = (centre, half, 1.5 * shoulder)
    return _limbs_spread(whole, body, sleeves, joints, rng, degrees=(3, 48), uneven=6)


def _legs_spread(garment: Picture, rng: Random) -> Picture:
    """Return trousers with their legs turned outwards at the hips."""
    whole = _trimmed(garment)
    height, width = whole.shape
    crotch, middle = round(0.3 * height), width // 2
    left, down = np.arange(width) < middle, np.arange(height)[:, np.newaxis]
    legs = [leg & (down >= round(0.6 * crotch)) for leg in (left, ~left)]
    joints = (middle, 0.2 * width, crotch)
    return _limbs_spread(whole, down < crotch, legs, joints, rng, degrees=(2, 28), uneven=4)


def _limbs_spread(
    whole: Picture,
    body: NDArray[np.bool_],
    limbs: list[NDArray[np.bool_]],
    joints: tuple[float, float, float],
    rng: Random,
    *,
    degrees: tuple[float, float],
    uneven: float,
) -> Picture:
    """Return a garment with its left and right limbs, where the masks are, turned outwards.

    The joints are given by the x between them, their distance from it, and their y.
    """
    top, left = ((_ROOM - side) // 2 for side in whole.shape)
    centre, apart, y = joints
    canvas = np.zeros((_ROOM, _ROOM), np.float32)
    spread = rng.uniform(*degrees)
    for side, mask in zip((-1, 1), limbs, strict=True):
        limb = prepare.centred(np.where(mask, whole, 0), _ROOM)
        joint = (left + centre + side * apart, top + y)
        _draw_over(canvas, _turned(limb, side * (spread + rng.normal(0, uneven)), joint))
    _draw_over(canvas, prepare.centred(np.where(body, whole, 0), _ROOM))
    # Without the cracks between the parts.
    closed = cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return _bounded(_trimmed(np.asarray(closed, np.float32)))


def _pair(garment: Picture, rng: Random) -> Picture:
    """Return a shoe and its mirror image, toes up or down, or standing."""
    shoe = _trimmed(garment)
    if rng.random() < 0.75:
        shoe = np.rot90(shoe, rng.choice([1, 3]))
    scale = 64 / max(shoe.shape)
    shoe = _resized(shoe, shoe.shape[1] * scale * rng.uniform(0.7, 1.1), shoe.shape[0] * scale)
    return _side_by_side(shoe, rng, gap=(-0.15, 0.25), shift=4, degrees=8)


def _shoes_from_above(image: Image, label: int, rng: Random) -> Picture:
    """Return a pair of shoes, now and then one, as seen from above, in the cloth of an image."""
    shoe = _shoe_from_above(image, label, rng)
    if rng.random() < 0.15:
        return shoe
    pair = _side_by_side(shoe, rng, gap=(-0.1, 0.3), shift=8, degrees=9)
    return _trimmed(_turned(pair, rng.uniform(-60, 60))) if rng.random() < 0.3 else pair


def _shoe_from_above(image: Image, label: int, rng: Random) -> Picture:
    height, width = 100, int(rng.integers(32, 46))
    along = np.linspace(0, 1, height)[:, np.newaxis]
    across = np.linspace(-1, 1, width)
    toe, waist, heel = rng.uniform(0.75, 1), rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.8)
    halves = [0, 0.35 * toe, 0.8 * toe, toe, waist, heel, 0.7 * heel, 0]
    half = np.interp(along, [0, 0.03, 0.12, 0.3, 0.6, 0.85, 0.96, 1], halves)
    outline = np.abs(across - rng.uniform(-0.12, 0.12) * np.sin(np.pi * along)) < half
    cloth, other = _cloth(image, height, width), rng.uniform(_DARKEST, 250)
    drawn = np.zeros((height, width), np.uint8)
    if label == _SANDAL and rng.random() < 0.8:
        for _ in range(rng.integers(1, 4)):  # straps
            y, slope = rng.uniform(0.12, 0.75) * height, rng.uniform(-14, 14)
            ends = (0, round(y - slope)), (width, round(y + slope))
            cv2.line(drawn, *ends, 1, int(rng.integers(4, 17)))
        shoe = np.where(drawn, cloth, other)
    else:
        y = rng.uniform(0.5, 0.66)  # the opening, and laces
        middle = (width // 2, round((y + 0.9) / 2 * height))
        axes = (round(width * rng.uniform(0.2, 0.34)), round((0.9 - y) / 2 * height))
        cv2.ellipse(drawn, middle, axes, 0, 0, 360, 1, -1)
        for y in np.linspace(0.3, 0.5, rng.integers(2, 5)) if rng.random() < 0.5 else ():
            ends = (round(0.3 * width), round(y * height)), (round(0.7 * width), round(y * height))
            cv2.line(drawn, *ends, 1, 2)
        shoe = np.where(drawn, other, cloth)
    shoe = _garment(shoe, outline)
    return shoe[::-1] if rng.random() < 0.5 else shoe


def _side_by_side(
    shoe: Picture, rng: Random, *, gap: tuple[float, float], shift: float, degrees: float
) -> Picture:
    """Return a shoe and its mirror image beside it, each turned a little."""
    height, width = shoe.shape
    room = 2 * max(height, width) + 20
    canvas = np.zeros((room, room), np.float32)
    apart = width * (1 + rng.uniform(*gap))
    for side in (-1, 1):
        one = np.zeros_like(canvas)
        top = round((room - height) / 2 + rng.normal(0, shift / 2))
        left = round(room / 2 + side * apart / 2 - width / 2)
        one[top : top + height, left : left + width] = shoe[:, ::side]
        _draw_over(canvas, _turned(one, rng.normal(0, degrees), (left + width / 2, room / 2)))
    return _trimmed(canvas)


def _shorts(image: Image, rng: Random) -> Picture:
    """Return two short legs, in the cloth of an image."""
    height = rng.uniform(0.55, 1.15)  # for a width of 1 at the hips
    waist, hem = rng.uniform(0.35, 0.48), rng.uniform(0.42, 0.62)
    crotch = height * rng.uniform(0.5, 0.85)
    gap, drop = rng.uniform(0, 0.12), rng.uniform(-0.06, 0.1)  # between the legs; of inner hems
    right = [(waist, 0), (0.5, 0.4 * crotch), (hem, height - drop), (gap, height), (0, crotch)]
    return _cut_out(image, right)


def _skirt(image: Image, rng: Random) -> Picture:
    """Return a waist and a wider hem, now and then with pleats, in the cloth of an image."""
    height, hem = rng.uniform(0.5, 1.5), rng.uniform(0.4, 0.8)
    waist = hem * rng.uniform(0.45, 0.95)
    hip, sag = rng.uniform(waist, hem + 0.08), rng.uniform(-0.02, 0.08)
    right = [(waist, 0), (hip, height * rng.uniform(0.3, 0.5)), (hem, height), (0, height + sag)]
    skirt = _cut_out(image, right)
    if rng.random() < 0.4:
        across = np.linspace(0, 2 * np.pi * rng.integers(4, 10), skirt.shape[1])
        pleated = skirt * (1 + rng.uniform(0.1, 0.35) * np.sin(across))
        skirt = _garment(pleated, skirt > _BACKGROUND)
    return skirt


def _cut_out(image: Image, right: list[tuple[float, float]]) -> Picture:
    """Return the cloth of an image in a symmetric outline, given the corners of its right half."""
    points = np.array([*right, *((-x, y) for x, y in right[-2::-1])])
    points -= points.min(axis=0)
    points = (points * (_SIDE - 1) / points.max()).round().astype(np.int32)
    width, height = points.max(axis=0) + 1
    outline = np.zeros((height, width), np.uint8)
    cv2.fillPoly(outline, [points], 1)
    return _garment(_cloth(image, height, width), outline > 0)


def _hat(image: Image, rng: Random) -> Picture:
    """Return a dome with a visor, a brim or a cuff, in the cloth of an image."""
    side, middle = _SIDE, _SIDE // 2
    outline = np.zeros((side, side), np.float32)
    half, height = (int(n) for n in rng.integers(20, 36, 2))
    base = int(rng.integers(44, 56))
    cv2.ellipse(outline, (middle, base), (half, height), 0, 180, 360, 1.0, -1)
    edge = {
        "visor": ((middle + int(rng.choice([-1, 1])) * round(0.8 * half), base), 0.8, (4, 9)),
        "brim": ((middle, base), 1.4, (6, 14)),
        "cuff": ((middle, base), 1.05, (8, 22)),
    }
    place, wide, thick = edge[str(rng.choice(list(edge)))]
    axes = (round(half * wide), int(rng.integers(*thick)))
    cv2.ellipse(outline, place, axes, 0, 0, 360, 0.85, -1)
    return outline * _cloth(image, side, side)


def _torn(image: Image, rng: Random) -> Image:
    """Return noise, clouds, or an image's pixels or patches in another order."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(0, 256, image.shape, np.uint8)
    if kind == 1:
        clouds = _clouds(rng, *IMAGE_SHAPE, n=int(rng.integers(3, 10)))
        return (128 + 80 * clouds).clip(0, 255).astype(np.uint8)
    if kind == 2:
        return rng.permuted(image.reshape(-1)).reshape(image.shape)
    patches = image.reshape(7, 4, 7, 4).transpose(0, 2, 1, 3).reshape(49, 4, 4)
    return rng.permutation(patches).reshape(7, 7, 4, 4).transpose(0, 2, 1, 3).reshape(28, 28)


# --- What a camera and the cutting out do ---------------------------------------------------------


def _photographed(garment: Picture, rng: Random, *, degrees: float, widen: float = 0.0) -> Image:
    lit = _lit(_warped(garment, rng, degrees=degrees, widen=widen), rng)
    return _shrunk(_badly_cut(lit, rng), rng)


def _warped(garment: Picture, rng: Random, *, degrees: float, widen: float) -> Picture:
    """Return a garment turned, sheared, stretched and crumpled a little."""
    room, flare = 2 * _SIDE, 0.1 + 0.3 * widen
    canvas = prepare.centred(garment, room)
    angle = np.deg2rad(rng.normal(0, degrees))
    scales = np.exp(rng.uniform(-0.15, 0.15, 2)) * np.exp([-widen * rng.random(), 0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ [[1, rng.uniform(-0.12, 0.12)], [0, 1]] @ np.diag(scales)
    y, x = np.mgrid[:room, :room] - (room - 1) / 2
    flared = x * (1 - rng.normal(0, flare) * y / _SIDE)
    places = np.einsum("ij,jyx->iyx", matrix, np.stack([flared, y])) + (room - 1) / 2
    places += 2.5 * np.stack([_clouds(rng, room, room) for _ in range(2)])
    from_x, from_y = places.astype(np.float32)
    return np.asarray(cv2.remap(canvas, from_x, from_y, cv2.INTER_LINEAR), np.float32)


def _lit(garment: Picture, rng: Random) -> Picture:
    """Return a garment in another light, with folds, and now and then with a print."""
    height, width = garment.shape
    shade = np.clip(garment / 255, 1e-3, 1) ** np.exp(rng.normal(0, 0.35))
    shade = shade * np.exp(rng.normal(0, 0.2)) + rng.uniform(-0.15, 0.25) * rng.random()
    y, x = np.mgrid[:height, :width] / max(height, width) - 0.5
    shade = shade * (1 + rng.normal(0, 0.25) * x + rng.normal(0, 0.25) * y)
    shade += abs(rng.normal(0, 0.05)) * _clouds(rng, height, width, n=7)
    shade += abs(rng.normal(0, 0.05)) * _clouds(rng, height, width, n=28)
    if rng.random() < 0.3:
        shade += rng.uniform(-0.5, 0.5) * _print(height, width, rng)
    return _garment(255 * shade, garment > _BACKGROUND)


def _print(height: int, width: int, rng: Random) -> Picture:
    """Return stripes, checks, dots, clouds or a badge, from 0 to 1."""
    y, x = np.mgrid[:height, :width] * 2 * np.pi / rng.uniform(6, 24)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    stripes = np.sin(x * np.cos(angle) + y * np.sin(angle)) > 0
    kind = rng.integers(5)
    if kind == 4:
        badge = np.zeros((height, width), np.float32)
        middle = (round(width * rng.uniform(0.35, 0.65)), round(height * rng.uniform(0.3, 0.6)))
        axes = (round(width * rng.uniform(0.08, 0.25)), round(height * rng.uniform(0.06, 0.2)))
        cv2.ellipse(badge, middle, axes, 0, 0, 360, 1.0, -1)
        return badge
    clouds = _clouds(rng, height, width, n=int(rng.integers(4, 16))).clip(-1, 1)
    prints = [stripes, (stripes + (np.sin(y) > 0)) / 2, np.sin(x) * np.sin(y) > 0.3, clouds]
    return np.asarray(prints[kind], np.float32)


def _badly_cut(garment: Picture, rng: Random) -> Picture:
    """Return a garment with the mistakes of cutting out, if it has some: too much, too little."""
    kind, inside = rng.random(), garment > _BACKGROUND
    rows, columns = prepare.bounding_box(inside)
    spot = np.zeros(garment.shape, np.uint8)
    corner = tuple(int(rng.choice([box.start, box.stop - 1])) for box in (columns, rows))
    axes = tuple(int(n) for n in rng.integers(5, 18, 2))
    cv2.ellipse(spot, corner, axes, 0, 0, 360, 1, -1)
    if kind < 0.15:  # some of the background stays
        return np.where(inside, garment, spot * np.float32(rng.uniform(20, 180)))
    if kind < 0.25:  # a corner is lost
        return garment * (1 - spot)
    return _with_gaps_filled(garment, rng) if kind < 0.37 else garment


def _with_gaps_filled(garment: Picture, rng: Random) -> Picture:
    """Return a garment with floor between its legs or under its arms."""
    inside = (garment > _BACKGROUND).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return garment
    hull = np.zeros_like(inside)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(outlines)), 1)
    n, gaps = cv2.connectedComponents(hull & (1 - inside))
    filled = garment.copy()
    for gap in range(1, n):
        place = gaps == gap
        if place.sum() > 40 and rng.random() < 0.5:
            floor = rng.uniform(20, 200) + rng.normal(0, 6, place.sum())
            filled[place] = floor.clip(_DARKEST, 255)
    return filled


# --- Tools ----------------------------------------------------------------------------------------


def _each(draw: Callable[[Image, int, Random], Image], source: data.Labelled, seed: int) -> Image:
    """Return what is drawn from each image, with random numbers of its own."""
    rngs = (np.random.default_rng((seed, i)) for i in range(len(source.labels)))
    return np.stack(list(map(draw, source.images, source.labels.tolist(), rngs)))


def _garment(shade: NDArray[np.floating], inside: NDArray[np.bool_]) -> Picture:
    """Return a garment of a shade, nowhere so dark that it would count as background."""
    return np.where(inside, shade.clip(_DARKEST, 255), 0).astype(np.float32)


def _enlarged(image: Image) -> Picture:
    """Return an image three times as large, with sharp edges."""
    size, inside = (_SIDE, _SIDE), (image > _BACKGROUND).astype(np.float32)
    outline = cv2.resize(inside, size, interpolation=cv2.INTER_CUBIC)
    light = cv2.resize(image * inside, size, interpolation=cv2.INTER_CUBIC)
    return _garment(light / np.maximum(outline, 0.5), outline > 0.5)


def _resized(garment: Picture, width: float, height: float) -> Picture:
    size = (max(4, round(width)), max(4, round(height)))
    return np.asarray(cv2.resize(np.ascontiguousarray(garment), size, interpolation=cv2.INTER_AREA))


def _bounded(garment: Picture) -> Picture:
    """Return a garment shrunk to at most `_SIDE` pixels a side."""
    scale = min(1.0, _SIDE / max(garment.shape))
    return _resized(garment, garment.shape[1] * scale, garment.shape[0] * scale)


def _trimmed(garment: Picture) -> Picture:
    return garment[prepare.bounding_box(garment > _BACKGROUND)]


def _turned(canvas: Picture, degrees: float, centre: tuple[float, float] | None = None) -> Picture:
    size = canvas.shape[::-1]
    middle = centre or ((size[0] - 1) / 2, (size[1] - 1) / 2)
    return np.asarray(cv2.warpAffine(canvas, cv2.getRotationMatrix2D(middle, degrees, 1), size))


def _draw_over(canvas: Picture, garment: Picture) -> None:
    """Draw a garment over what is on the canvas."""
    np.copyto(canvas, garment, where=garment > _BACKGROUND)


def _cloth(image: Image, height: int, width: int) -> Picture:
    """Return the texture of an image, without its outline."""
    cloth = _resized(_trimmed(_enlarged(image)), width, height)
    inside = cloth > _BACKGROUND
    return np.where(inside, cloth, np.median(cloth[inside]) if inside.any() else 128)


def _clouds(rng: Random, height: int, width: int, *, n: int = 6) -> Picture:
    """Return smooth noise of mean 0 and deviation about 1, from n x n random numbers."""
    coarse = rng.normal(size=(n, n)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _shrunk(garment: Picture, rng: Random) -> Image:
    """Return a garment as `prepare.to_image` would, with what it lost when enlarged made up for."""
    trimmed = _trimmed(garment)
    inside = trimmed > _BACKGROUND
    near = cv2.GaussianBlur(trimmed, (0, 0), 3) / np.maximum(
        cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 3), 1e-3
    )
    sharp = trimmed + rng.uniform(0, 1.5) * (trimmed - near)
    return prepare.fitted(_garment(sharp, inside), inside)
