"""The one way from images to answers, for notebooks, command and service; needs no TensorFlow."""

import itertools
import json
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

NONE_OF_THE_TEN = "none of the ten"
_BATCH = 256
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
        model was trained on, low for one out of distribution (Liu et al., arXiv 2010.03759).
    known : ndarray of shape (n,), bool
        False where the answer is `NONE_OF_THE_TEN`: the energy score is below the threshold.
    embedding : ndarray of shape (n, d), float32
        The probabilities and the normalised inputs of the last layer, divided by sqrt(2). The inner
        product of two embeddings is the mean of the probability that both images are of one class
        and the cosine similarity of their features.
    """

    probabilities: NDArray[np.float32]
    energy_score: NDArray[np.float32]
    known: NDArray[np.bool_]
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


class Predictor:
    """A packaged model: ``model.onnx`` and ``card.json`` in a folder.

    Parameters
    ----------
    folder : Path, optional
        By default that of the model that comes with the package.

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

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.packaged_model_dir()
        missing = [n for n in ("model.onnx", "card.json") if not (self.folder / n).exists()]
        if missing:
            raise FailureError(
                f"Model folder {self.folder} lacks {' and '.join(missing)}: install fmnist_utils "
                "again, or name another folder."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a prediction; a service makes many at a time
        self._session = onnxruntime.InferenceSession(
            self.folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        lacks = {"logits", "embedding", "class_activation"}.difference(
            output.name for output in self._session.get_outputs()
        )
        lacks |= {"temperature", "energy_threshold"}.difference(self.card)
        if lacks:
            raise FailureError(
                f"The model in {self.folder} lacks {' and '.join(sorted(lacks))}: it is older than "
                "this fmnist_utils, or of a network without global pooling. Make it anew with "
                "fmnist package."
            )

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the model is: recipe, data, accuracy, temperature, limits."""
        return dict(json.loads((self.folder / "card.json").read_text(encoding="utf-8")))

    def predict(self, pictures: ArrayLike) -> Answers:
        """Return the answers to images.

        Parameters
        ----------
        pictures : array_like of shape (n, 28, 28), uint8
            0 is background, as in what `prepare.to_image` makes of photos.

        Raises
        ------
        BadInputError
            If shape or dtype do not fit.
        """
        logits, embedding = self._run(pictures, "logits", "embedding")
        energy_score = np.logaddexp.reduce(logits, axis=1)
        probabilities = softmax(logits / self.card["temperature"])
        length = np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
        joined = np.hstack([probabilities, embedding / length]) / np.sqrt(2)
        return Answers(
            probabilities=probabilities,
            energy_score=energy_score,
            known=energy_score >= self.card["energy_threshold"],
            embedding=joined.astype(np.float32),
        )

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
        return prepared, self.predict(prepared.image[None])

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
            (class_activation,) = self._run(padded[window], "class_activation")
            chosen = np.maximum(class_activation[np.arange(len(pixels)), ..., wanted], 0)
            maps[window] += [cv2.resize(one, IMAGE_SHAPE) for one in chosen]
        return scale_maps(maps[:, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT])

    def _run(self, pictures: ArrayLike, *outputs: str) -> list[NDArray[np.float32]]:
        pixels = check_pixels(pictures)
        batches = [
            self._session.run(outputs, {self._input: pixels[start : start + _BATCH]})
            for start in range(0, len(pixels), _BATCH)
        ]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
