"""From a photo of a garment to a 28x28 image as Zalando made them, step by step."""

import importlib
import io
import math
import mimetypes
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist_utils import paths
from fmnist_utils.arrays import border, on_black
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import BadInputError
from fmnist_utils.files import open_file
from fmnist_utils.photos import EXPLANATIONS, MAX_PIXELS

with suppress(ImportError):  # iPhones' photos, for whoever has installed the extra heic
    importlib.import_module("pillow_heif").register_heif_opener()
Image.init()
FORMATS = tuple(
    name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF") if name in Image.OPEN
)
SUFFIXES = tuple(end for end, name in Image.registered_extensions().items() if name in FORMATS)
# What the command draws beside a photo: the steps to an answer, similar images, explanations.
_DRAWN = ("explained", "similar", *EXPLANATIONS)
_WORKING_SIDE = 240  # pixels; enough for an outline that is shrunk to 28
_SIDE, _SCANS = 20_000, 100  # at most, of a photo and of a JPEG
_REDUCED = ("L", "LA", "RGB", "RGBA", "CMYK")  # the modes of photos whose pixels have a mean

_Number = TypeVar("_Number", bound=np.generic)


class Photo(NamedTuple):
    """A photo as it was read.

    Parameters
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
        Turned upright.
    opaque : ndarray of shape (height, width), bool
        False where the photo is transparent.
    """

    rgb: NDArray[np.uint8]
    opaque: NDArray[np.bool_]


class Prepared(NamedTuple):
    """The steps from a photo to a 28x28 image.

    Parameters
    ----------
    photo : ndarray of shape (height, width, 3), uint8
        With sides of at most 240 pixels.
    mask : ndarray of shape (height, width), bool
        True where the garment is.
    garment : ndarray of shape (h, w), uint8
        Cropped to the mask, grey, negated: 0 is background.
    image : ndarray of shape (28, 28), uint8
        Scaled, sharpened and centred: what a classifier sees.
    is_photo : bool
        False where the picture was an image of the data set already.
    """

    photo: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    garment: NDArray[np.uint8]
    image: NDArray[np.uint8]
    is_photo: bool


class Found(NamedTuple):
    """What folders hold.

    Parameters
    ----------
    photos : list of Path
        To be read.
    others : list of Path
        Images of formats that are not read.
    """

    photos: list[Path]
    others: list[Path]


def read(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Return a photo as 8-bit RGB, turned upright, with what is opaque in it.

    Parameters
    ----------
    source : str, Path or bytes
        A file or its content, of one of `FORMATS` (the first frame): JPEG, PNG, WebP, GIF, BMP,
        TIFF, and HEIC where pillow-heif is installed; grey, colour, CMYK, with a palette,
        transparent, 8 or 16 bits.
    max_pixels : int
        How many decoding may hold, see `held_pixels`.

    Raises
    ------
    BadInputError
        If the file is missing, is none, is of another format, is damaged, or is too large.

    Notes
    -----
    Introduced in notebook 13.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from fmnist_utils.photos import prepare
    >>> Image.new("RGB", (60, 40), "red").save(content := io.BytesIO(), "PNG")
    >>> prepare.read(content.getvalue()).rgb.shape
    (40, 60, 3)
    """
    name = "The upload" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _content(Path(source), max_pixels)
    except OSError as error:
        raise BadInputError(f"{name} cannot be read: {error.strerror}.") from error
    with _opened(name, data, max_pixels) as (image, _):
        return _upright(image)


def held_pixels(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many pixels decoding a photo holds in memory, by its header.

    Parameters
    ----------
    data : bytes
        A file's content.
    max_pixels : int
        As for `read`.

    Returns
    -------
    int
        Of a JPEG those of the reduced size at which it is decoded, and, where it is progressive, a
        third of all its pixels, for their coefficients.

    Raises
    ------
    BadInputError
        As from `read`, as far as the header tells.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from fmnist_utils.photos import prepare
    >>> Image.new("L", (4000, 3000)).save(content := io.BytesIO(), "JPEG")
    >>> prepare.held_pixels(content.getvalue())
    750000
    """
    with _opened("The upload", data, max_pixels) as (_, held):
        return held


def _content(path: Path, max_pixels: int) -> bytes:
    # No format needs more: 16 bits of four colours a pixel, and what comes beside them.
    most = 2**24 + 8 * max_pixels
    with open_file(path) as file:
        if (n_bytes := path.stat().st_size) > most:
            raise BadInputError(
                f"{path} has {n_bytes:,} bytes: at most {most:,}, for {max_pixels:,} pixels."
            )
        return file.read()


def drawing(photo: Path, kind: str) -> Path:
    """Return the path beside a photo of what is drawn of it; no photo of another name shares it.

    Parameters
    ----------
    photo : Path
        A file.
    kind : str
        ``"explained"``, ``"similar"`` or one of `EXPLANATIONS`.

    Examples
    --------
    >>> drawing(Path("shirt.jpg"), "similar").name
    'shirt.jpg.similar.png'
    """
    return photo.with_name(f"{photo.name}.{kind}.png")


def find(sources: Iterable[Path]) -> Found:
    """Return the given files, and for each given folder all images in it, sorted.

    Parameters
    ----------
    sources : iterable of Path
        Files, whatever their suffix; and folders, searched with all their subfolders by suffix,
        capital or not. Hidden files, and what the command draws beside photos, are left out.

    Raises
    ------
    BadInputError
        If a file or folder is missing, or a folder holds no photo that can be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmnist_utils.photos import prepare
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("shirt.jpg", "bag.PNG", "dress.svg", "notes.txt"):
    ...         (Path(folder) / name).touch()
    ...     photos, others = prepare.find([Path(folder)])
    >>> [file.name for file in photos], [file.name for file in others]
    (['bag.PNG', 'shirt.jpg'], ['dress.svg'])
    """
    photos: list[Path] = []
    others: list[Path] = []
    for source in sources:
        if not paths.exists(source):
            raise BadInputError(f"There is no file or folder {source}: check the path.")
        if not source.is_dir():
            photos.append(source)
            continue
        images = [file for file in sorted(source.rglob("*")) if _is_image(file)]
        readable = [file for file in images if file.suffix.lower() in SUFFIXES]
        if not readable:
            raise BadInputError(
                f"Folder {source} holds no photo: need files that end in {', '.join(SUFFIXES)}."
            )
        photos += readable
        others += [file for file in images if file.suffix.lower() not in SUFFIXES]
    return Found(photos, others)


def _is_image(file: Path) -> bool:
    """Tell by its name whether a file may be a photo: neither hidden nor drawn by the command."""
    kind, _ = mimetypes.guess_type(file.name.lower(), strict=False)
    return (
        (kind or "").startswith("image/")
        and file.is_file()
        and not file.name.startswith(".")
        and not file.name.endswith(tuple(f".{drawn}.png" for drawn in _DRAWN))
    )


def to_image(photo: Photo) -> Prepared:
    """Return the garment on a photo as a 28x28 image, with the steps that lead to it.

    A transparent photo shows its garment where it is opaque. In any other, GrabCut (Rother,
    Kolmogorov and Blake, 2004) finds the garment, given that the border is background. Then come
    the steps by which Zalando made Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747):
    crop, make grey, negate, scale the longer side to 28, sharpen, centre.

    Parameters
    ----------
    photo : Photo
        From `read`. One that is an image of the data set already, perhaps enlarged, padded, lossily
        compressed or negated, only becomes bright on black and 28x28 pixels large.

    Notes
    -----
    Introduced in notebook 13.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils.photos import prepare
    >>> rgb = np.full((300, 200, 3), 230, np.uint8)
    >>> rgb[60:240, 60:140] = 50
    >>> prepare.to_image(prepare.Photo(rgb, np.ones((300, 200), bool))).image.shape
    (28, 28)
    """
    rgb, opaque = photo
    drawn = _already_drawn(photo)
    scale = min(1.0, _WORKING_SIDE / max(opaque.shape))
    height, width = (max(1, round(side * scale)) for side in opaque.shape)
    rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if drawn is not None:
        picture, image = drawn
        mask = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) > 0
        return Prepared(rgb, mask, image, image, is_photo=False)
    opaque = cv2.resize(opaque.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA) > 0
    mask = largest_parts(_grab_cut(rgb) if opaque.all() else opaque)
    box = bounding_box(mask)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[box]
    # A white garment must not become background.
    garment = np.where(mask[box], np.maximum(255 - grey, 1), 0).astype(np.uint8)
    return Prepared(rgb, mask, garment, fitted(garment, mask[box]), is_photo=True)


def _already_drawn(photo: Photo) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return a picture bright on black, and its image, where it is nearly one of the data set's.

    It is opaque and grey, but for what lossy compression or a stray pixel does. Larger than 28x28,
    it also is a square with an empty border; on a black ground it need not be one, as no photo of
    a garment on paper or on the floor has that.
    """
    rgb, opaque = photo
    some = rgb[:: 1 + len(rgb) // 300, :: 1 + rgb.shape[1] // 300]  # as good, of a large photo
    if min(opaque.shape) < 2 or opaque.mean() < 0.98 or np.ptp(some, axis=-1).mean() > 4:
        return None
    (grey,), (negated,) = on_black(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[None])
    if grey.shape == IMAGE_SHAPE:
        return grey, grey
    if min(grey.shape) < IMAGE_SHAPE[0] or (border(grey[None]) < 32).mean() < 0.4:
        return None
    garment = grey >= 32
    if not garment.any():
        return None
    box = bounding_box(garment)
    square = grey.shape[0] == grey.shape[1]
    if square and max(grey[box].shape) >= 0.85 * len(grey):  # 28 of 32 pixels
        image = cv2.resize(grey, IMAGE_SHAPE, interpolation=cv2.INTER_AREA)
        return grey, np.asarray(image, np.uint8)
    return None if negated else (grey, fitted(grey[box], garment[box]))


def largest_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without its small parts; True everywhere, if nearly nothing is left.

    Parameters
    ----------
    mask : ndarray of shape (height, width), bool
        Connected parts smaller than 15 percent of the largest one are removed.
    """
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts, measured, _ = cv2.connectedComponentsWithStats(opened)
    areas = measured[1:, cv2.CC_STAT_AREA]
    if areas.sum() < 0.005 * mask.size:
        return np.ones_like(mask)
    return np.isin(parts, 1 + np.flatnonzero(areas >= 0.15 * areas.max()))


def fitted(garment: ArrayLike, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a garment scaled to 28 pixels on its longer side, sharpened and centred.

    Parameters
    ----------
    garment : array_like of shape (height, width)
        Grey, 0 to 255, cropped to the mask.
    mask : ndarray of shape (height, width), bool
        True where the garment is.

    Returns
    -------
    ndarray of shape (28, 28), uint8
        0 is background, the garment is at least 1.
    """
    grey = np.asarray(garment, np.float32)
    scale = IMAGE_SHAPE[0] / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    sharp = small + 0.5 * (small - cv2.GaussianBlur(small, (0, 0), 1))
    image = np.where(inside > 0.3, sharp.round().clip(1, 255), 0).astype(np.uint8)
    return centred(image, IMAGE_SHAPE[0])


def centred(picture: NDArray[_Number], side: int) -> NDArray[_Number]:
    """Return a picture in the middle of a square of zeros.

    Parameters
    ----------
    picture : ndarray of shape (height, width)
        No side of it is longer than the square's.
    side : int
        Of the square, in pixels.
    """
    before = [(side - length) // 2 for length in picture.shape]
    edges = [(n, side - length - n) for n, length in zip(before, picture.shape, strict=True)]
    return np.pad(picture, edges)


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and the columns of the smallest box around what is True.

    Parameters
    ----------
    mask : ndarray of shape (height, width), bool
        If nothing is True, the box is the whole mask.
    """
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if width == 0:
        height, width = mask.shape
    return slice(top, top + height), slice(left, left + width)


@contextmanager
def _opened(name: str, data: bytes, max_pixels: int) -> Iterator[tuple[Image.Image, int]]:
    """Give a photo of which the header alone is read, and how many pixels decoding it holds.

    What is wrong with it, then or when it is decoded, is said in a sentence.
    """
    if not data:
        raise BadInputError(f"{name} is empty: save it anew.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is larger than its own bound; ours is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                yield image, _drafted(name, image, data, max_pixels)
    except Image.DecompressionBombError as error:
        raise BadInputError(f"{name} is too large: at most {max_pixels:,} pixels.") from error
    except UnidentifiedImageError as error:
        raise BadInputError(
            f"{name} is no image of a known format: need one of {', '.join(FORMATS)}."
        ) from error
    except BadInputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever odd bytes lead them to
        raise BadInputError(f"{name} is damaged ({error}): save it anew.") from error


def _drafted(name: str, image: Image.Image, data: bytes, max_pixels: int) -> int:
    """Have a JPEG decoded at a reduced size; return how many pixels are held, if not too many."""
    width, height = image.size
    coefficients = 0
    if image.format in ("JPEG", "MPO"):  # the latter is a JPEG with others behind it
        scans = data.count(b"\xff\xda")
        if scans > _SCANS:  # each may take as long as all the others should
            raise BadInputError(
                f"{name} is a JPEG of {scans:,} scans: at most {_SCANS}; save it anew, not "
                "progressive."
            )
        coefficients = width * height // 3 if "progressive" in image.info else 0
        image.draft("RGB", (2 * _WORKING_SIDE, 2 * _WORKING_SIDE))
    held = math.prod(image.size) + coefficients
    too_many = held > max_pixels or width * height > max(max_pixels, MAX_PIXELS)
    if too_many or max(width, height) > _SIDE:
        raise BadInputError(
            f"{name} has {width:,} x {height:,} pixels: at most {max_pixels:,} in all and "
            f"{_SIDE:,} a side."
        )
    return held


def _upright(image: Image.Image) -> Photo:
    """Return the first frame turned as its camera was held, in 8 bits a colour."""
    ImageOps.exif_transpose(image, in_place=True)
    if (factor := min(image.size) // (2 * _WORKING_SIDE)) > 1 and image.mode in _REDUCED:
        image = image.reduce(factor)  # each of the copies below takes much memory
    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    rgba = np.asarray(image.convert("RGBA"))
    return Photo(rgba[..., :3], rgba[..., 3] > 127)


def _grab_cut(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask of the garment, given that the border of the photo is background."""
    border = max(2, round(0.03 * max(rgb.shape[:2])))
    if min(rgb.shape[:2]) < max(8, 2 * border + 1):  # too narrow to have an inside
        return np.ones(rgb.shape[:2], bool)
    mask = np.full(rgb.shape[:2], cv2.GC_BGD, np.uint8)
    mask[border:-border, border:-border] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)  # it begins with clusters that are drawn
    state = np.zeros((2, 1, 65))
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)  # its distances are more like those one sees
    no_box = (0, 0, 0, 0)
    cv2.grabCut(lab, mask, no_box, state[0], state[1], 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(mask, [cv2.GC_FGD, cv2.GC_PR_FGD])
