"""Let contenders take turns, each in a process of its own.

Libraries disturb each other in one process: their threads, their allocators, and PyTorch's
compiler, which cannot be loaded once TensorFlow has run. Nothing here imports any of them.
"""

import importlib
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Self

import numpy as np
import pandas as pd

BATCH = 256
ROUNDS = 5
_BURSTS = 4  # a round has
_REST = 0.3  # threads of OpenMP go on looking for work for a while
_RNG = np.random.default_rng(0)
IMAGES = _RNG.integers(0, 256, (BATCH, 28, 28)).astype(np.uint8)
LABELS = _RNG.integers(0, 10, BATCH)

_made: dict[str, Callable[[], Any]] = {}  # in a contender's process, its call


def filters(width: int) -> list[int]:
    """Return the filters of the residual network of a width."""
    return [width, 2 * width, 4 * width, 8 * width]


class Contender:
    """A call made and made again in another process.

    ``Contender("in_torch", "update", 16, bfloat16=True)`` calls what ``in_torch.update(16,
    bfloat16=True)`` returned.
    """

    def __init__(self, module: str, function: str, *args: Any, **kwargs: Any) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            self._pool.submit(_make, module, function, args, kwargs).result()
        except BaseException:
            self._pool.shutdown()
            raise

    def __call__(self) -> Any:
        """Return what the call returns."""
        return self._pool.submit(_once).result()

    def rate(self, seconds: float) -> float:
        """Return calls a second over a burst of at least so many seconds, or one call."""
        time.sleep(_REST)
        return self._pool.submit(_rate, seconds).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def take_turns(contenders: Mapping[str, Contender], *, seconds: float) -> "pd.Series[float]":
    """Return each one's median rate over rounds of short bursts.

    Whatever else runs hits all of them, and the shorter the bursts, the more alike.
    """

    def burst() -> "pd.Series[float]":
        return pd.Series({name: each.rate(seconds / _BURSTS) for name, each in contenders.items()})

    rounds = [
        pd.concat([burst() for _ in range(_BURSTS)], axis=1).mean(axis=1) for _ in range(ROUNDS)
    ]
    return pd.concat(rounds, axis=1).median(axis=1)


def _make(module: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _made["call"] = getattr(importlib.import_module(module), function)(*args, **kwargs)
    _once()  # tracing or compiling, and the first touch of memory


def _once() -> Any:
    return _made["call"]()


def _rate(seconds: float) -> float:
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < seconds:
        _once()
        n += 1
    return n / (time.perf_counter() - start)


def timed(calls: Mapping[str, Callable[[], object]], *, repeats: int = 5) -> dict[str, float]:
    """Return the shortest time of each call in milliseconds."""

    def milliseconds(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - start)

    return {
        name: min(milliseconds(call) for _ in range(repeats + 1)) for name, call in calls.items()
    }
