"""What a network for photographs holds of a garment, in colour and in detail.

At 28x28 grey pixels a printed dress is noise, and of a pair of shoes seen from above the outline
does not tell the kind. EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946), trained on ImageNet and
on no photo of ours, sees the photo itself. Its classes are not ours: `GARMENTS` says, by the
meaning of each, which of the ten answers it speaks for, or for none of them.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fmnist_utils.arrays import softmax
from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
from fmnist_utils.photos.prepare import Prepared, bounding_box, centred

NONE = "none"
_HAT, _UNDERWEAR = {NONE: 1.0}, {NONE: 1.0}
_BAG = {"Bag": 1.0}

# Of ImageNet's thousand classes those that are worn or carried: number, name, and the answers that
# it speaks for, with shares that sum to 1.
GARMENTS: Mapping[int, tuple[str, Mapping[str, float]]] = MappingProxyType(
    {
        399: ("abaya", {"Dress": 0.6, "Coat": 0.4}),
        400: ("academic gown", {"Coat": 0.6, "Dress": 0.4}),
        411: ("apron", {"Dress": 1}),
        414: ("backpack", _BAG),
        433: ("bathing cap", _HAT),
        439: ("bearskin", _HAT),
        445: ("bikini", _UNDERWEAR),
        451: ("bolo tie", {"Shirt": 1}),
        452: ("bonnet", _HAT),
        457: ("bow tie", {"Shirt": 0.6, "Coat": 0.4}),
        459: ("brassiere", _UNDERWEAR),
        465: ("bulletproof vest", {"Coat": 0.6, "T-shirt/top": 0.2, NONE: 0.2}),
        474: ("cardigan", {"Coat": 0.35, "Shirt": 0.35, "Pullover": 0.3}),
        496: ("Christmas stocking", {NONE: 1}),
        501: ("cloak", {"Coat": 0.8, "Dress": 0.2}),
        502: ("clog", {"Sandal": 0.5, "Sneaker": 0.5}),
        514: ("cowboy boot", {"Ankle boot": 1}),
        515: ("cowboy hat", _HAT),
        518: ("crash helmet", _HAT),
        529: ("diaper", _UNDERWEAR),
        560: ("football helmet", _HAT),
        568: ("fur coat", {"Coat": 1}),
        578: ("gown", {"Dress": 1}),
        601: ("hoopskirt", {"Dress": 0.6, NONE: 0.4}),
        608: ("jean", {"Trouser": 1}),
        610: ("jersey", {"T-shirt/top": 0.6, "Pullover": 0.25, "Shirt": 0.15}),
        614: ("kimono", {"Coat": 0.4, "Dress": 0.4, "Shirt": 0.2}),
        617: ("lab coat", {"Coat": 0.6, "Shirt": 0.4}),
        630: ("loafer", {"Sneaker": 0.85, "Ankle boot": 0.15}),
        636: ("mailbag", _BAG),
        638: ("maillot", {"Dress": 0.4, "T-shirt/top": 0.3, NONE: 0.3}),
        639: ("tank suit", {"Dress": 0.4, "T-shirt/top": 0.3, NONE: 0.3}),
        652: ("military uniform", {"Coat": 0.7, "Shirt": 0.3}),
        655: ("miniskirt", {NONE: 0.8, "Dress": 0.2}),
        658: ("mitten", {NONE: 1}),
        667: ("mortarboard", _HAT),
        689: ("overskirt", {"Dress": 0.6, NONE: 0.4}),
        697: ("pajama", {"Trouser": 0.4, "Shirt": 0.3, "Pullover": 0.2, "Dress": 0.1}),
        715: ("pickelhaube", _HAT),
        728: ("plastic bag", _BAG),
        735: ("poncho", {"Pullover": 0.4, "Coat": 0.4, "Dress": 0.2}),
        748: ("purse", _BAG),
        770: ("running shoe", {"Sneaker": 1}),
        774: ("sandal", {"Sandal": 1}),
        775: ("sarong", {"Dress": 0.5, NONE: 0.5}),
        788: ("shoe shop", {"Sandal": 0.34, "Sneaker": 0.33, "Ankle boot": 0.33}),
        793: ("shower cap", _HAT),
        796: ("ski mask", _HAT),
        797: ("sleeping bag", {"Coat": 1}),  # what a padded jacket looks like
        806: ("sock", _UNDERWEAR),
        808: ("sombrero", _HAT),
        824: ("stole", {"Coat": 0.4, "Pullover": 0.3, "Dress": 0.3}),
        834: ("suit", {"Coat": 0.7, "Shirt": 0.2, "Trouser": 0.1}),
        841: ("sweatshirt", {"Pullover": 0.7, "Coat": 0.2, "Shirt": 0.1}),
        842: ("swimming trunks", _UNDERWEAR),
        869: ("trench coat", {"Coat": 1}),
        887: ("vestment", {"Coat": 0.4, "Dress": 0.3, "Pullover": 0.3}),
        893: ("wallet", _BAG),
        903: ("wig", _HAT),
        906: ("Windsor tie", {"Shirt": 0.7, "Coat": 0.3}),
        911: ("wool", {"Pullover": 0.7, "Coat": 0.3}),
    }
)

SIDE = 224  # pixels of the photo that the network sees
SILENT = np.zeros(N_CLASSES + 1, np.float32)  # an opinion that changes nothing
# Both were chosen on the photos for tuning. Kinds of tops differ less than their names here say;
# no answer is excluded by what a network of other classes holds.
_TOPS = [CLASS_NAMES.index(n) for n in ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")]
_SPREAD, _LEAST = 0.2, 0.05
_MARGIN = 12  # a twelfth of the garment's sides around it is shown as well
# A pair of shoes from above has an outline of its own, whatever their kind: of that the first
# network knows little.
_SHOES = [CLASS_NAMES.index(name) for name in ("Sandal", "Sneaker", "Ankle boot")]
_FIRST_OF_SHOES = np.float32(0.15)


@cache
def _meanings() -> NDArray[np.float32]:
    """Return which answer each garment speaks for: (garments, 11), the last of them `NONE`."""
    answers = [*CLASS_NAMES, NONE]
    table = np.array(
        [[shares.get(name, 0) for name in answers] for _, shares in GARMENTS.values()], np.float32
    )
    tops = table[:, _TOPS]
    table[:, _TOPS] = (1 - _SPREAD) * tops + _SPREAD * tops.mean(axis=1, keepdims=True)
    return table


def onnx_session(path: Path) -> onnxruntime.InferenceSession:
    """Return a network, ready to answer in one thread: a service makes many predictions at a time.

    Parameters
    ----------
    path : Path
        An ONNX file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class SecondOpinion:
    """The packaged network for photographs.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils.photos import prepare, second_opinion
    >>> rgb = np.full((300, 200, 3), 230, np.uint8)
    >>> rgb[60:240, 60:140] = (200, 30, 30)
    >>> photo = prepare.to_image(prepare.Photo(rgb, np.ones((300, 200), bool)))
    >>> garments = second_opinion.SecondOpinion().garments(photo)
    >>> second_opinion.opinion(garments).shape
    (11,)
    """

    def __init__(self) -> None:
        self._model = onnx_session(Path(__file__).parent / "imagenet" / "efficientnet_lite0.onnx")

    def garments(self, prepared: Prepared) -> NDArray[np.float32]:
        """Return the probabilities of `GARMENTS`, in their order, given that it is one of them.

        Parameters
        ----------
        prepared : Prepared
            From `prepare.to_image`. One that is an image of the data set is not asked about: all
            are 0.
        """
        if not prepared.is_photo:
            return np.zeros(len(GARMENTS), np.float32)
        rows, columns = bounding_box(prepared.mask)
        picture = prepared.photo[_wider(rows), _wider(columns)]
        scale = SIDE / max(picture.shape[:2])
        width, height = (max(1, round(n * scale)) for n in picture.shape[1::-1])
        scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
        # White around it, and scaled as the published network was trained.
        channels = [255 - centred(255 - scaled[..., i], SIDE) for i in range(3)]
        images = (np.stack(channels)[np.newaxis].astype(np.float32) - 127) / 128
        (logits,) = self._model.run(["logits"], {"images": images})
        return np.asarray(softmax(logits)[0], np.float32)


def opinion(garments: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what speaks for each of the ten classes and for none of them, as logarithms.

    Parameters
    ----------
    garments : ndarray of shape (garments,), float32
        From `SecondOpinion.garments`.

    Returns
    -------
    ndarray of shape (11,), float32
        `SILENT` where the network was not asked.
    """
    return np.log(garments @ _meanings() + _LEAST) if garments.any() else SILENT


def likeliest(garments: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
    """Return the k likeliest garments with their probabilities, best first.

    Parameters
    ----------
    garments : ndarray of shape (garments,), float32
        From `SecondOpinion.garments`.
    k : int
        At least 1.
    """
    names = [name for name, _ in GARMENTS.values()]
    return [(names[i], float(garments[i])) for i in np.argsort(-garments)[:k] if garments[i]]


def _wider(part: slice) -> slice:
    margin = (part.stop - part.start) // _MARGIN
    return slice(max(0, part.start - margin), part.stop + margin)


def revised(
    probabilities: NDArray[np.float32], opinions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return probabilities once a second opinion has been heard: the product of both.

    Parameters
    ----------
    probabilities : ndarray of shape (n, 10), float32
        Of the classes, from 28x28 pixels.
    opinions : ndarray of shape (n, 11), float32
        From `opinion`.

    Returns
    -------
    ndarray of shape (n, 10), float32
        0 to 1, each row sums to 1. How likely it is a shoe at all comes from both as well, which
        kind of shoe nearly from the second alone.
    """
    first, second = np.log(np.maximum(probabilities, 1e-9)), opinions[:, :N_CLASSES]
    both = softmax(first + second)
    kinds = softmax(_FIRST_OF_SHOES * first[:, _SHOES] + second[:, _SHOES])
    both[:, _SHOES] = both[:, _SHOES].sum(axis=1, keepdims=True) * kinds
    silent = ~opinions.any(axis=1, keepdims=True)
    return np.where(silent, probabilities, both)


def log_odds(opinions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm of the odds that a garment is one of the ten; 0 for `SILENT`.

    Parameters
    ----------
    opinions : ndarray of shape (n, 11), float32
        From `opinion`.
    """
    ten = np.logaddexp.reduce(opinions[:, :N_CLASSES], axis=1)
    return np.where(opinions.any(axis=1), ten - opinions[:, N_CLASSES], 0).astype(np.float32)
