"""Downloads that end: of bounded size, in bounded time, into memory; whoever asks verifies them."""

import io
import threading
from concurrent.futures import Future
from typing import Any

_SECONDS = 300  # for all of a file: one may send a byte now and then for ever


def get(url: str, *, most_bytes: int, progress: bool = False) -> bytes:
    """Return what a server sends.

    Parameters
    ----------
    url : str
        Of a file.
    most_bytes : int
        At which it is ended.
    progress : bool
        Show a bar.

    Raises
    ------
    OSError
        If it cannot be had, or not in time.
    ValueError
        If it is larger; it says so, for a sentence that begins with what was asked for.
    """
    import pooch

    # Seconds to connect and to wait for data: without a network, end soon.
    download = pooch.HTTPDownloader(progressbar=progress, timeout=(3, 10))
    arrived = Future[bytes]()

    def fetch() -> None:
        try:
            download(url, arriving, None)
            arrived.set_result(arriving.getvalue())
        # Anew, as their tracebacks would hold the connection.
        except ValueError as error:
            arrived.set_exception(ValueError(str(error)))
        except Exception as error:
            arrived.set_exception(OSError(type(error).__name__))

    with _Arriving(most_bytes) as arriving:  # closed when it is late, which ends the thread
        threading.Thread(target=fetch, daemon=True).start()
        return arrived.result(_SECONDS)


class _Arriving(io.BytesIO):
    """What arrives, which is ended where it is too much."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def write(self, content: Any, /) -> int:
        if self.tell() + len(content) > self._most_bytes:
            raise ValueError(f"is of more than {self._most_bytes:,} bytes")
        return super().write(content)
