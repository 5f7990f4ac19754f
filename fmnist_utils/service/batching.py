"""Dynamic batching: requests that wait while the model works are answered as one batch."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_utils.photos.predictor import Answers
from fmnist_utils.service.fairness import Order

# Images in a batch, less what the last request adds. More would answer none sooner: from a few on,
# an image costs the same, and while the answers of one batch are sent the next is at work.
LARGEST = 16

Images = NDArray[np.uint8]
Opinions = NDArray[np.float32]


class _Request(NamedTuple):
    place: tuple[int, int]  # no two alike: nothing after it is compared
    images: Images
    opinions: Opinions
    answers: asyncio.Future[Answers]


class Batcher:
    """A predictor with a queue: what arrives while it works is its next batch.

    No request waits for others to come: a single one is answered at once, and the batches grow with
    the load.

    Parameters
    ----------
    predict : callable
        From images, uint8 of shape (n, 28, 28), and second opinions on them, float32 of shape
        (n, 11), to `predictor.Answers`; called in one thread.
    """

    def __init__(self, predict: Callable[[Images, Opinions], Answers]) -> None:
        self._predict = predict
        self._order = Order()
        self._queue: asyncio.PriorityQueue[_Request] = asyncio.PriorityQueue()
        self._thread = ThreadPoolExecutor(1, "predict")

    async def predict(self, images: Images, opinions: Opinions) -> Answers:
        """Return the answers to one request's images, in their order, while `run` runs.

        Parameters
        ----------
        images : ndarray of shape (n, 28, 28), uint8
            0 is background.
        opinions : ndarray of shape (n, 11), float32
            See `predictor.Predictor.predict`.
        """
        answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        with self._order.place(len(images)) as place:
            self._queue.put_nowait(_Request(place, images, opinions, answers))
            return await answers

    async def run(self) -> None:
        """Answer batch after batch until cancelled; what `predict` raises reaches its batch."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while sum(len(one.images) for one in batch) < LARGEST and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            batch = [one for one in batch if not one.answers.done()]  # who asked may have gone
            if not batch:
                continue
            images = np.concatenate([one.images for one in batch])
            opinions = np.concatenate([one.opinions for one in batch])
            try:
                answers = await loop.run_in_executor(self._thread, self._predict, images, opinions)
            except Exception as error:
                for one in batch:
                    if not one.answers.done():
                        one.answers.set_exception(error)
                continue
            for one in batch:
                if not one.answers.done():
                    one.answers.set_result(answers[: len(one.images)])
                answers = answers[len(one.images) :]
