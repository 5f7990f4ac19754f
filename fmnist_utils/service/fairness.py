"""Who gets what when many ask: shares of what is limited, and an order of what is queued.

Clients are told apart by their address; behind a proxy that is trusted, by the one it forwards.
"""

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeVar

ADDRESS: ContextVar[str] = ContextVar("ADDRESS", default="")  # of whom the running task answers

_T = TypeVar("_T")


class Shares:
    """An amount of something for all clients, of which one may take a quarter of what is free.

    However many take all they can, something is left for the next (dynamic thresholds; Choudhury
    and Hahne, 1998).

    Parameters
    ----------
    total : int
        Of requests, connections, bytes.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken: Counter[str | None] = Counter()

    @property
    def taken(self) -> int:
        """By all together."""
        return self._taken.total()

    def take(self, client: str | None, amount: int = 1) -> bool:
        """Take an amount where it can be had, and return whether it could.

        Parameters
        ----------
        client : str or None
            None for one that stands for many: to it nothing but the total is a bound.
        amount : int
            To be given back.
        """
        free = self._total - self.taken
        granted = (
            amount <= free if client is None else amount <= -(-free // 4) - self._taken[client]
        )
        if granted:
            self._taken[client] += amount
        return granted

    def give(self, client: str | None, amount: int = 1) -> None:
        """Give back what was taken.

        Parameters
        ----------
        client : str or None
            As it was taken.
        amount : int
            As it was taken, or a part.
        """
        self._taken[client] -= amount
        if not self._taken[client]:
            del self._taken[client]  # addresses are many


class Order:
    """In which order jobs are done: the later, the more its client had unfinished.

    A photo overtakes a form of 32, and many forms of one client overtake nobody's.
    """

    def __init__(self) -> None:
        self._unfinished: Counter[str] = Counter()
        self._numbers = count()

    @contextmanager
    def place(self, jobs: int = 1) -> Iterator[tuple[int, int]]:
        """Give a key to sort by, no two alike, for jobs that are unfinished until it is left.

        Parameters
        ----------
        jobs : int
            How many the client adds.
        """
        client = ADDRESS.get()
        self._unfinished[client] += jobs
        try:
            yield self._unfinished[client], next(self._numbers)
        finally:
            self._unfinished[client] -= jobs
            if not self._unfinished[client]:
                del self._unfinished[client]


class _Job(NamedTuple):
    place: tuple[int, int]
    pixels: int
    function: Callable[[], Any]
    result: asyncio.Future[Any]


class Turns:
    """Threads for which clients take turns; what they decode at once is bounded.

    Parameters
    ----------
    threads : int
        How many jobs run at a time.
    pixels : int
        How many they may decode at a time. A job that finds no room lets smaller ones pass.
    """

    def __init__(self, threads: int, pixels: int) -> None:
        self._threads, self._free, self._pixels = ThreadPoolExecutor(threads), threads, pixels
        self._order, self._queue = Order(), list[_Job]()

    async def run(self, function: Callable[[], _T], pixels: int = 0) -> _T:
        """Return what a function returns, called in a thread when it is this client's turn.

        One who is cancelled before loses the turn; what runs already runs to its end.

        Parameters
        ----------
        function : callable
            Takes nothing.
        pixels : int
            What it decodes.
        """
        result: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        with self._order.place() as place:
            insort(self._queue, _Job(place, pixels, function, result))
            self._start()
            return await result

    def _start(self) -> None:
        waiting = []
        for job in self._queue:
            if job.result.done():  # cancelled
                continue
            if not self._free or job.pixels > self._pixels:
                waiting.append(job)
                continue
            self._free, self._pixels = self._free - 1, self._pixels - job.pixels
            self._threads.submit(job.function).add_done_callback(partial(self._done, job))
        self._queue = waiting

    def _done(self, job: _Job, done: Future[Any]) -> None:
        with suppress(RuntimeError):  # the service has ended
            job.result.get_loop().call_soon_threadsafe(self._end, job, done)

    def _end(self, job: _Job, done: Future[Any]) -> None:
        self._free, self._pixels = self._free + 1, self._pixels + job.pixels
        if not job.result.done():
            error = done.exception()
            if error is None:
                job.result.set_result(done.result())
            else:
                job.result.set_exception(error)
        self._start()
