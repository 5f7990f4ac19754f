"""What a request to the service may ask for: the one place where the limits stand."""

from dataclasses import dataclass, field

from fmnist_utils.photos import MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for; ``fmnist serve`` has an option for each.

    Parameters
    ----------
    bytes : int
        Of a request, whatever it holds.
    pixels : int
        Of a photo, width times height.
    files : int
        Photos, or arrays of pixels, in a request.
    seconds : float
        For a client to send its request.
    waiting : int
        Requests with a body at work at once; more are turned away, to come back.
    """

    bytes: int = field(default=20_000_000, metadata={"help": "Of a request."})
    pixels: int = field(default=MAX_PIXELS, metadata={"help": "Of a photo."})
    files: int = field(default=32, metadata={"help": "Of a request."})
    seconds: float = field(default=30.0, metadata={"help": "For a request to arrive."})
    waiting: int = field(default=256, metadata={"help": "Requests at work at once."})
