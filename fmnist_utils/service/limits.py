"""What a request to the service may ask for: the one place where the limits stand."""

import math
from dataclasses import dataclass

from fmnist_utils.errors import BadInputError


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
        Open at once, of one address a quarter of what is free; fewer than the files
        that the process may open (``ulimit -n``).

    Raises
    ------
    BadInputError
        If `seconds` is no positive, finite number.
    """

    bytes: int = 20_000_000
    pixels: int = 20_000_000
    files: int = 32
    seconds: float = 30.0
    waiting: int = 512
    connections: int = 768

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise BadInputError(
                f"A request needs some time to arrive; received {self.seconds:g} seconds: choose "
                "a positive, finite number, as in --max-seconds 30."
            )
