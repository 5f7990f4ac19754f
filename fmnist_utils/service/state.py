"""What the endpoints share: predictor, batches, metrics, the catalogue of images."""

import asyncio
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos import prepare
from fmnist_utils.photos.catalogue import Catalogue
from fmnist_utils.photos.predictor import Answers, Predictor
from fmnist_utils.photos.second_opinion import SILENT, opinion
from fmnist_utils.service.batching import Batcher
from fmnist_utils.service.fairness import Shares, Turns
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.middleware import LOG, Metrics
from fmnist_utils.service.uploads import Upload

_TINY = 4096  # bytes; to hand an image of 28x28 pixels to a thread takes longer than to read it
_SMALL = 2_000_000  # pixels held of a photo that may be decoded beside others


class Asked(NamedTuple):
    """A photo as it is asked about.

    Parameters
    ----------
    steps : prepare.Prepared
        From the photo to its 28x28 image.
    garments : ndarray of shape (garments,), float32
        What the network for photographs sees in it.
    """

    steps: prepare.Prepared
    garments: NDArray[np.float32]


class Service:
    """The state of one application.

    Parameters
    ----------
    predictor : Predictor
        Answers.
    limits : Limits
        What a request may ask for.

    Attributes
    ----------
    catalogue : Catalogue or None
        Where to look for similar images.
    no_catalogue : str
        Why there is none.
    memory : Shares
        Of the bytes that bodies and answers hold.
    turns : Turns
        For whatever takes long.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits, self.metrics = predictor, limits, Metrics()
        self.catalogue: Catalogue | None = None
        self.no_catalogue = "The service was started without training images."
        self.batcher = Batcher(predictor.predict)
        self.memory = Shares(6 * limits.bytes)
        # Two threads at least: a large photo may take long, and small ones shall pass.
        self.turns = Turns(max(2, os.cpu_count() or 1), limits.pixels + 2 * _SMALL)

    async def gather(self, make_catalogue: Callable[[], Catalogue]) -> None:
        """Make the catalogue of similar images in a thread of its own, or log why there is none.

        Parameters
        ----------
        make_catalogue : callable
            Whatever it raises, the service goes on without a catalogue.
        """
        self.no_catalogue = "The training images are being gathered: ask again in a minute."
        try:
            loop = asyncio.get_running_loop()
            self.catalogue = await loop.run_in_executor(ThreadPoolExecutor(1), make_catalogue)
        except Exception as error:
            self.no_catalogue = "The service has no training images; its log tells why."
            LOG.warning(json.dumps({"event": "no similar images", "reason": str(error)}))

    async def asked(self, *files: Upload) -> list[Asked]:
        """Return the steps from each upload to a 28x28 image, and a second opinion on it.

        Parameters
        ----------
        files : Upload
            Photos of any kind that `prepare.read` reads.

        Raises
        ------
        BadInputError
            If one is no image, a damaged or too large one; the sentence begins with its name.
        """
        if len(files) == 1 and len(files[0].content) <= _TINY:
            with suppress(BadInputError):  # whatever is wrong with it, its thread will tell
                if not (steps := self._steps(files[0], math.prod(IMAGE_SHAPE))).is_photo:
                    return [Asked(steps, self.predictor.second.garments(steps))]
        tasks = [asyncio.create_task(self._turn(file)) for file in files]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # of a form of which one file is refused
                task.cancel()

    async def _turn(self, file: Upload) -> Asked:
        def asked() -> Asked:
            steps = self._steps(file, self.limits.pixels)
            return Asked(steps, self.predictor.second.garments(steps))

        with _named(file):
            most = self.limits.pixels
            pixels = await asyncio.to_thread(prepare.held_pixels, file.content, max_pixels=most)
        return await self.turns.run(asked, pixels if pixels <= _SMALL else most)  # or all alone

    async def answers(
        self, images: NDArray[np.uint8], opinions: NDArray[np.float32] | None = None
    ) -> Answers:
        """Return the answers to images, and count them.

        Parameters
        ----------
        images : ndarray of shape (n, 28, 28), uint8
            0 is background.
        opinions : ndarray of shape (n, 11), float32, optional
            See `predictor.Predictor.predict`.
        """
        if opinions is None:
            opinions = np.tile(SILENT, (len(images), 1))
        answers = await self.batcher.predict(images, opinions)
        for name in answers.names():
            self.metrics.answers.labels(name).inc()
        return answers

    async def answers_to_photos(self, photos: Sequence[Asked]) -> Answers:
        """Return the answers to photos, and count them.

        Parameters
        ----------
        photos : sequence of Asked
            From `asked`, at least one.
        """
        images = np.stack([photo.steps.image for photo in photos])
        return await self.answers(images, np.stack([opinion(photo.garments) for photo in photos]))

    def _steps(self, file: Upload, max_pixels: int) -> prepare.Prepared:
        with _named(file):
            return prepare.to_image(prepare.read(file.content, max_pixels=max_pixels))


@contextmanager
def _named(file: Upload) -> Iterator[None]:
    """Let what is wrong with a file begin with its name."""
    try:
        yield
    except BadInputError as error:
        raise BadInputError(f"{file.name}: {error}" if file.name else str(error)) from error
