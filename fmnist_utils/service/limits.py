"""What a request to the service may ask for: the one place where the limits stand."""

from dataclasses import dataclass

from fmnist_utils.photos import MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for; ``fmnist serve`` has an option for each.

    Parameters
    ----------
    bytes : int
        Size of a request's body, whatever it holds.
    pixels : int
        Width times height of a photo.
    files : int
        Photos, or arrays of pixels, in one request.
    seconds : float
        Time for a client to send its request: as long for the head and for the body.
    waiting : int
        Requests in progress at once; those beyond whose body is read are answered 503.
    """

    bytes: int = 20_000_000
    pixels: int = MAX_PIXELS
    files: int = 32
    seconds: float = 30.0
    waiting: int = 256
