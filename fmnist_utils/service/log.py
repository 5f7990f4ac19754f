"""A log that never stops the service: lines that nobody takes are dropped and counted."""

import json
import logging
import os
import queue
import threading
import time

_FLUSH = 1.0  # seconds for what waits at the end


class DroppingHandler(logging.Handler):
    """Writes lines to a descriptor in a thread of its own, however slowly that takes them.

    Parameters
    ----------
    descriptor : int
        Of a file or pipe; not through Python's stream, whose lock would stop the process's end.
    most : int
        Lines that may wait; further ones are dropped, and the next that is written tells how many.
    """

    def __init__(self, descriptor: int = 2, most: int = 10_000) -> None:
        super().__init__()
        self._descriptor, self._dropped = descriptor, 0
        self._lines: queue.Queue[str] = queue.Queue(most)
        threading.Thread(target=self._write, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, not for long."""
        until = time.monotonic() + _FLUSH
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def _write(self) -> None:
        while True:
            text = self._lines.get()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                text = f"{json.dumps({'event': 'lines dropped', 'lines': dropped})}\n{text}"
            left = f"{text}\n".encode("utf-8", "replace")
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:  # nobody reads any more
                self._dropped += 1
            self._lines.task_done()
