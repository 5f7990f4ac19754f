"""What a request to the service may ask for: the one place where the limits stand."""

from dataclasses import dataclass, field
from typing import Any

from fmnist_utils.errors import BadInputError

_LONGEST = 3_600


def _option(default: float, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may ask for; ``fmnist serve`` has an option for each.

    Parameters
    ----------
    bytes : int
        Size of a request's body, whatever it holds.
    pixels : int
        What decoding a photo may hold, and by it the whole process, see `prepare.held_pixels`.
    files : int
        Photos, or arrays of pixels, in one request.
    seconds : float
        Time for a client to send its request; as long to be answered, and to take the answer.
    waiting : int
        Requests in progress at once, of one address a quarter of what is free; those beyond whose
        body is read are answered 503.
    connections : int
        Open at once, of one address a quarter of what is free; fewer where the process may open
        fewer files (``ulimit -n``).

    Raises
    ------
    BadInputError
        If `seconds` is not positive, or more than an hour.
    """

    bytes: int = _option(20_000_000, "Of a request.")
    pixels: int = _option(20_000_000, "Held while a photo is decoded.")
    files: int = _option(32, "Of a request.")
    seconds: float = _option(30.0, "To send a request; as long to be answered.")
    waiting: int = _option(512, "Requests at work.")
    connections: int = _option(768, "Open at once.")

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= _LONGEST:
            raise BadInputError(
                f"A request needs some time to arrive; received {self.seconds:g} seconds: choose "
                f"more than 0 and at most {_LONGEST:,}, as in --max-seconds 30."
            )
