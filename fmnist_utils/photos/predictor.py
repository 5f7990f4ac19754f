"""The one way from images to answers, for notebooks, command and service; needs no TensorFlow."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from fmnist_utils import paths
from fmnist_utils.arrays import check_classes, check_pixels, scale_maps, softmax
from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.photos import prepare
from fmnist_utils.photos.second_opinion import (
    SILENT,
    SecondOpinion,
    log_odds,
    onnx_session,
    opinion,
    revised,
)

NONE_OF_THE_TEN = "none of the ten"
_BATCH = 256
FILES = ("model.onnx", "images.onnx", "card.json")
# Of a card: by what logits are divided, below which energy score an image is of no class, and below
# which probability a class is ruled out.
NUMBERS = (
    "temperature",
    "images_temperature",
    "energy_threshold",
    "photo_energy_threshold",
    "open_threshold",
    "photo_open_threshold",
)
_SHIFT = 4  # pixels; a pixel of the last feature maps is about twice as wide


@dataclass(frozen=True)
class Answers:
    """A predictor's answers to n images.

    Parameters
    ----------
    probabilities : ndarray of shape (n, 10), float32
        0 to 1, each row sums to 1; calibrated, for images of one of the ten classes.
    energy_score : ndarray of shape (n,), float32
        ``logsumexp`` of the logits, the negative energy: high for an image like those that the
        model was trained on, low for one out of distribution (Liu et al., arXiv 2010.03759). Of a
        photo, plus the log odds that the second opinion gives for one of the ten classes.
    known : ndarray of shape (n,), bool
        False where the answer is `NONE_OF_THE_TEN`: the energy score is below the threshold.
    open : ndarray of shape (n, 10), bool
        The classes that cannot be ruled out: in nine of ten cases the right one is among them
        (split conformal prediction; Vovk, Gammerman and Shafer, 2005).
    embedding : ndarray of shape (n, d), float32
        The probabilities and the normalised inputs of the last layer, divided by sqrt(2). The inner
        product of two embeddings is the mean of the probability that both images are of one class
        and the cosine similarity of their features.
    """

    probabilities: NDArray[np.float32]
    energy_score: NDArray[np.float32]
    known: NDArray[np.bool_]
    open: NDArray[np.bool_]
    embedding: NDArray[np.float32]

    def __getitem__(self, part: slice) -> "Answers":
        """Return the answers to some of the images."""
        return Answers(**{name: values[part] for name, values in vars(self).items()})

    def names(self) -> list[str]:
        """Return the answer to each image: a class, or `NONE_OF_THE_TEN`."""
        return [
            best[0][0] if known else NONE_OF_THE_TEN
            for best, known in zip(self.top(1), self.known.tolist(), strict=True)
        ]

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """Return the k likeliest classes of each image with their probabilities, best first.

        Parameters
        ----------
        k : int
            1 to 10.

        Raises
        ------
        BadInputError
            If k is not between 1 and 10.
        """
        if not 1 <= k <= N_CLASSES:
            raise BadInputError(f"top must lie between 1 and {N_CLASSES}; received {k}.")
        # Lists: a service asks about one image at a time, for which arrays would cost more.
        ranked = [
            sorted(zip(CLASS_NAMES, row, strict=True), key=itemgetter(1), reverse=True)
            for row in self.probabilities.tolist()
        ]
        return [row[:k] for row in ranked]

    def alternatives(self) -> list[list[str]]:
        """Return the other classes that are open for each image, the likeliest first."""
        return [
            [name for name, _ in row[1:] if allowed[CLASS_NAMES.index(name)]]
            for row, allowed in zip(self.top(N_CLASSES), self.open.tolist(), strict=True)
        ]


class Predictor:
    """A packaged model in a folder: two networks and a card.

    ``model.onnx`` was trained on synthetic photos as well and is asked about everything;
    ``images.onnx``, trained on images of the data set alone, is asked beside it about such images,
    and `second_opinion` about photos.

    Parameters
    ----------
    folder : Path, optional
        By default that of the model that comes with the package.
    alone : bool
        Ask ``model.onnx`` alone.

    Raises
    ------
    FailureError
        If the folder lacks a file, or the model lacks an output or a number of its card.

    Notes
    -----
    Introduced in notebook 00.

    Examples
    --------
    >>> from fmnist_utils import data
    >>> from fmnist_utils.photos.predictor import Predictor
    >>> answers = Predictor().predict(data.sketches(3, seed=0).images)
    >>> answers.probabilities.shape, len(answers.names())
    ((3, 10), 3)
    """

    def __init__(self, folder: Path | None = None, *, alone: bool = False) -> None:
        self.folder, self.alone = folder or paths.packaged_model_dir(), alone
        missing = [name for name in FILES if not (self.folder / name).exists()]
        if missing:
            raise FailureError(
                f"Model folder {self.folder} lacks {' and '.join(missing)}: install fmnist_utils "
                "again, or name another folder."
            )
        self._model = onnx_session(self.folder / "model.onnx")
        self._images_model = onnx_session(self.folder / "images.onnx")
        lacks = {"logits", "embedding", "class_activation"}.difference(
            output.name for output in self._model.get_outputs()
        )
        lacks |= set(NUMBERS).difference(self.card)
        if lacks:
            raise FailureError(
                f"The model in {self.folder} lacks {' and '.join(sorted(lacks))}: it is older than "
                "this fmnist_utils, or of a network without global pooling. Make it anew with "
                "fmnist package."
            )
        self.second = SecondOpinion()

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the model is: recipe, data, accuracy, temperature, limits."""
        return dict(json.loads((self.folder / "card.json").read_text(encoding="utf-8")))

    def predict(self, pictures: ArrayLike, opinions: NDArray[np.float32] | None = None) -> Answers:
        """Return the answers to images.

        Parameters
        ----------
        pictures : array_like of shape (n, 28, 28), uint8
            0 is background, as in what `prepare.to_image` makes of photos.
        opinions : ndarray of shape (n, 11), float32, optional
            From `second_opinion.opinion`, where the images are of photos.

        Raises
        ------
        BadInputError
            If shape or dtype do not fit.
        """
        pixels = check_pixels(pictures)
        if opinions is None:
            opinions = np.tile(SILENT, (len(pixels), 1))
        of_photo = np.asarray(opinions.any(axis=1))
        logits, embedding = _run(self._model, pixels, "logits", "embedding")
        energy_score = np.logaddexp.reduce(logits, axis=1)
        shared = ~of_photo & (not self.alone)
        if shared.any():
            (others,) = _run(self._images_model, pixels[shared], "logits")
            logits[shared] = (logits[shared] + others) / 2

        def number(of: NDArray[np.bool_], *names: str) -> NDArray[np.float32]:
            return np.where(of, *(np.float32(self.card[name]) for name in names))

        temperature = number(shared, "images_temperature", "temperature")
        probabilities = softmax(logits / temperature[:, np.newaxis])
        if of_photo.any():  # a service is mostly asked about images, and soon
            energy_score += log_odds(opinions)
            probabilities = revised(probabilities, opinions)
        least_energy = number(of_photo, "photo_energy_threshold", "energy_threshold")
        least = number(of_photo, "photo_open_threshold", "open_threshold")
        least = np.minimum(least, probabilities.max(axis=1))
        length = np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
        joined = np.hstack([probabilities, embedding / length]) / np.sqrt(2)
        return Answers(
            probabilities=probabilities,
            energy_score=energy_score,
            known=energy_score >= least_energy,
            open=probabilities >= least[:, np.newaxis],
            embedding=joined.astype(np.float32),
        )

    def predict_photos(self, photos: Sequence[prepare.Prepared]) -> Answers:
        """Return the answers to photos; on each a second opinion is heard.

        Parameters
        ----------
        photos : sequence of Prepared
            From `prepare.to_image`, at least one.
        """
        images = np.stack([photo.image for photo in photos])
        if self.alone:
            return self.predict(images)
        seen = [self.second.garments(photo) for photo in photos]
        return self.predict(images, np.stack(list(map(opinion, seen))))

    def predict_file(self, source: str | Path | bytes) -> tuple[prepare.Prepared, Answers]:
        """Return the steps from a photo to a 28x28 image, and the answer to that image.

        Parameters
        ----------
        source : str, Path or bytes
            A file or its content, see `prepare.read`.

        Raises
        ------
        BadInputError
            If it is no image, or a damaged or too large one.
        """
        prepared = prepare.to_image(prepare.read(source))
        return prepared, self.predict_photos([prepared])

    def explain(self, pictures: ArrayLike, classes: ArrayLike) -> NDArray[np.float32]:
        """Return a Grad-CAM map of each image: where the last features raise the logit of a class.

        The last feature maps have few pixels, so a map is the mean over nine shifted copies of the
        image, each shifted back (see `export.with_auxiliary_outputs` for the class activation
        maps).

        Parameters
        ----------
        pictures : array_like of shape (n, 28, 28), uint8
            0 is background.
        classes : array_like of shape (n,), integer
            The classes to explain, 0 to 9.

        Returns
        -------
        ndarray of shape (n, 28, 28), float32
            0 to 1, each map divided by its maximum; all 0 where no feature raises the logit.

        Raises
        ------
        BadInputError
            If shapes, dtype or classes do not fit.
        """
        pixels = check_pixels(pictures)
        wanted = check_classes(classes, len(pixels))
        padded = np.pad(pixels, [(0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)])
        maps = np.zeros(padded.shape, np.float32)
        for top, left in itertools.product((2 * _SHIFT, _SHIFT, 0), repeat=2):
            window = np.s_[:, top : top + IMAGE_SHAPE[0], left : left + IMAGE_SHAPE[1]]
            (class_activation,) = _run(self._model, padded[window], "class_activation")
            chosen = np.maximum(class_activation[np.arange(len(pixels)), ..., wanted], 0)
            maps[window] += [cv2.resize(one, IMAGE_SHAPE) for one in chosen]
        return scale_maps(maps[:, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT])


def _run(
    model: onnxruntime.InferenceSession, pixels: NDArray[np.uint8], *outputs: str
) -> list[NDArray[np.float32]]:
    (given,) = model.get_inputs()
    batches = [
        model.run(outputs, {given.name: pixels[start : start + _BATCH]})
        for start in range(0, len(pixels), _BATCH)
    ]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
