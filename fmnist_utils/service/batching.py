"""Answer requests that arrive together together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fmnist_utils.photos.predictor import Answers

_Waiting = tuple[NDArray[np.uint8], asyncio.Future[Answers]]


class Batcher:
    """A predictor for many askers at once: what arrives while it works is the next batch.

    Nothing waits for company: a single request is answered at once, and under load batches grow by
    themselves.

    Parameters
    ----------
    predict : callable
        From images, uint8 of shape (n, 28, 28), to `predictor.Answers`.
    largest : int
        Requests a batch. More would answer none sooner: from a few on, an image costs the same,
        and while one batch's answers are sent the next is at work.
    """

    def __init__(
        self, predict: Callable[[NDArray[np.uint8]], Answers], *, largest: int = 16
    ) -> None:
        self._predict = predict
        self._largest = largest
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "predict")

    async def predict(self, pictures: NDArray[np.uint8]) -> Answers:
        """Return the answers to one request's images, in their order."""
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((pictures, future))
        return await future

    async def run(self) -> None:
        """Answer batch after batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            waiting = [await self._queue.get()]
            while len(waiting) < self._largest and not self._queue.empty():
                waiting.append(self._queue.get_nowait())
            pictures = np.concatenate([some for some, _ in waiting])
            try:
                answers = await loop.run_in_executor(self._thread, self._predict, pictures)
            except Exception as error:
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)
                continue
            start = 0
            for some, future in waiting:
                part = slice(start, start + len(some))
                start += len(some)
                if not future.done():  # its asker may have gone
                    future.set_result(answers[part])
