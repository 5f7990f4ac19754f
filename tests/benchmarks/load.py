"""Load the service on loopback with wrk: ``python tests/benchmarks/load.py --seconds 600``.

It needs wrk (``apt-get install wrk``). Server and generator share the machine's cores.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from PIL import Image

from fmnist_utils import data

SCRIPT = Path(__file__).with_name("post.lua")
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@contextmanager
def served(port):
    """Run `fmnist serve`; give its process once it is ready."""
    command = [Path(sys.executable).with_name("fmnist"), "serve", "--port", str(port)]
    environment = {**os.environ, "FMNIST_DATA_DIR": os.devnull, "KERAS_HOME": os.devnull}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as running:
        try:
            for _ in range(100):
                time.sleep(0.1)
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
                    break
            else:
                sys.exit(
                    f"Nothing is ready at port {port} after 10 seconds: fmnist serve tells why."
                )
            yield psutil.Process(running.pid)
        finally:
            running.terminate()


def load(port, *, seconds, connections=32):
    """Return requests a second, the 99th percentile in milliseconds, and how many failed."""
    if shutil.which("wrk") is None:
        sys.exit("There is no wrk: apt-get install wrk, or brew install wrk.")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.png" for i in range(100)]
        for path, image in zip(paths, data.sketches(100, seed=0).images, strict=True):
            Image.fromarray(image).save(path)
        listed = Path(folder) / "list"
        listed.write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", SCRIPT,
             f"http://127.0.0.1:{port}"],
            capture_output=True, text=True, check=True,
            env={**os.environ, "FMNIST_PNGS": str(listed)},
        ).stdout  # fmt: skip
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    value, unit = re.search(r"99%\s+([\d.]+)(\w+)", out).groups()
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    n_failed = int(failed[1]) if failed else 0
    n_failed += sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0
    return rate, float(value) * MILLISECONDS[unit], n_failed


def main():
    """Warm the service up, load it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    with served(given.port) as process:
        load(given.port, seconds=5)
        before = process.memory_info().rss
        rate, p99, failed = load(given.port, seconds=given.seconds, connections=given.connections)
        grown = (process.memory_info().rss - before) / 1e6
    print(f"{rate:.0f} requests a second, 99 % within {p99:.1f} ms, {failed} failed")
    print(f"memory {before / 1e6:.0f} MB after the warm-up, {grown:+.1f} MB in {given.seconds} s")


if __name__ == "__main__":
    main()
