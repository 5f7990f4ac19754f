"""Run the service, attack it, and measure what good clients and its process see of it."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import payloads
import psutil
from ports import free_port

GOOD = {  # what good clients ask: path, body, seconds between two of them
    "/healthz": ("/healthz", None, 0.02),
    "28x28": ("/v1/predict", payloads.image(), 0.02),
    "photo": ("/v1/predict", payloads.photo(), 0.1),
}
PATIENCE = 10.0  # seconds; an answer that takes longer is lost
GRACE = 1.0  # seconds that a connection may outlive its deadline
DESCRIPTORS = 1024  # what Linux gives a process, wherever the tests run


@contextmanager
def served(*, deadline, log):
    """Run `fmnist serve`; give its process and port once it is ready."""
    port = free_port()
    command = "import sys; from fmnist_utils.cli.main import main; sys.argv[0] = 'fmnist'; main()"
    options = ["serve", "--port", str(port), "--max-seconds", str(deadline)]
    environment = {**os.environ, "FMNIST_DATA_DIR": os.devnull, "KERAS_HOME": os.devnull}
    running = subprocess.Popen(
        [sys.executable, "-c", command, *options], stderr=log, env=environment
    )
    process = psutil.Process(running.pid)
    process.rlimit(psutil.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    try:
        for _ in range(200):
            with suppress(OSError):
                asked(port, "/readyz")
                break
            time.sleep(0.1)
        yield process, port
    finally:
        running.kill()
        running.communicate()


def asked(port, path, body=None):
    """Ask on a connection of its own; return the answer, raise OSError if there is none of 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        kind = {"content-type": "application/octet-stream"}
        try:
            connection.request("POST" if body else "GET", path, body, kind)
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise OSError("no answer") from error
    if answer.status != 200:
        raise OSError(f"status {answer.status}")
    return content


class GoodClient(threading.Thread):
    """Ask the same until told to stop, and note how long it took, what was lost, what was wrong."""

    def __init__(self, port, path, body, pause, stop):
        super().__init__()
        self.port, self.path, self.body, self.pause, self.stop = port, path, body, pause, stop
        self.expected = asked(port, path, body)
        self.seconds, self.lost, self.wrong = [], 0, 0

    def run(self):
        while not self.stop.wait(self.pause):
            begun = time.perf_counter()
            try:
                self.wrong += asked(self.port, self.path, self.body) != self.expected
            except OSError:
                self.lost += 1
            self.seconds.append(time.perf_counter() - begun)

    @property
    def milliseconds(self):
        """The median, and what 99 of a hundred take."""
        return tuple((1000 * np.percentile(self.seconds, [50, 99])).round(1).tolist())


class Watch(threading.Thread):
    """See how much memory a process takes, and which connections it has, until told to stop."""

    def __init__(self, process, stop):
        super().__init__()
        self.process, self.stop = process, stop
        self.memory, self.peak, self.seen = 0, 0, {}

    def run(self):
        while not self.stop.wait(0.1):
            with suppress(psutil.Error):
                family = [self.process, *self.process.children(recursive=True)]
                self.memory = sum(one.memory_info().rss for one in family) / 1e6
                self.peak = max(self.peak, self.memory)
                now = time.monotonic()
                for connection in self.process.net_connections("tcp"):
                    if connection.raddr:
                        self.seen[f"{connection.raddr.ip}:{connection.raddr.port}"] = now


def measure(name, *, seconds, deadline):
    """Return what an attack does to the service, as a row of the table."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log, served(
        deadline=deadline, log=subprocess.PIPE if name == "an unread log" else log
    ) as (process, port):  # fmt: skip
        stop = threading.Event()
        clients = {kind: GoodClient(port, *what, stop) for kind, what in GOOD.items()}
        watch = Watch(process, stop)
        for thread in (watch, *clients.values()):
            thread.start()
        attack = [sys.executable, Path(__file__).with_name("attacks.py"), name, str(port)]
        done = subprocess.run([*attack, str(seconds)], stdout=subprocess.PIPE, check=True)
        stop.set()
        for thread in (watch, *clients.values()):
            thread.join()
        process.terminate()
        with suppress(psutil.TimeoutExpired):
            process.wait(PATIENCE)
        ended = not process.is_running()
        log.seek(0)
        tracebacks = log.read().count("Traceback")
    attackers = json.loads(done.stdout)
    held = attackers["held"]
    return {
        "attack": name,
        "answers": attackers["answers"],
        "milliseconds": {kind: client.milliseconds for kind, client in clients.items()},
        "lost": sum(client.lost for client in clients.values()),
        "wrong": sum(client.wrong for client in clients.values()),
        "good": sum(len(client.seconds) for client in clients.values()),
        "peak": watch.peak,
        "memory": watch.memory,
        "overdue": sum(
            watch.seen.get(key, 0) - since > deadline + GRACE for key, since in held.items()
        ),
        "tracebacks": tracebacks,
        "ended": ended,
    }
