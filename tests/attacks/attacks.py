"""Attacks on the service, from eight addresses: ``python attacks.py NAME PORT SECONDS``.

It prints, as JSON, what the attackers tried and were answered, and which connections they held,
each with the moment from which the service had to wait for nothing but them.
"""

import json
import select
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import payloads
from payloads import FORM, JSON, PHOTO, request

ADDRESSES = [f"127.0.0.{n}" for n in range(2, 10)]
_PAUSE = 0.2
_GONE = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)


class Attacker:
    """One address, until its time is over."""

    def __init__(self, address, port, seconds):
        self.address, self.port = address, port
        self.until = time.monotonic() + seconds
        self.answers, self.held = Counter(), {}

    @property
    def seconds_left(self):
        return self.until - time.monotonic()

    def connect(self, receive_buffer=None):
        """Return a new connection; None if it is refused."""
        self.answers["tried"] += 1
        connection = socket.socket()
        connection.settimeout(max(0.1, self.seconds_left))
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            connection.bind((self.address, 0))
            connection.connect(("127.0.0.1", self.port))
        except OSError:
            connection.close()
            self.answers["refused"] += 1
            time.sleep(_PAUSE)
            return None
        self.held.pop(_name(connection), None)  # another had the same port before
        return connection

    def waits_for(self, connection):
        """Note that from now on the service waits for nothing but this connection."""
        self.held.setdefault(_name(connection), time.monotonic())


def _name(connection):
    return "{}:{}".format(*connection.getsockname())


def hold(attacker, n, begin, drip=b"", *, whole=False, reads=True, receive_buffer=None):
    """Keep connections that begin with something and then drip, and replace those that end.

    A beginning that is a whole request gives the service work: it waits from its answer on.
    """
    held = []
    while attacker.seconds_left > 0:
        for _ in range(min(10, n - len(held))):
            if connection := attacker.connect(receive_buffer):
                with suppress(OSError):
                    connection.sendall(begin)
                if not whole:
                    attacker.waits_for(connection)
                connection.setblocking(False)
                held.append(connection)
        time.sleep(_PAUSE)
        held = [one for one in held if _goes_on(attacker, one, drip, whole=whole, reads=reads)]


def _goes_on(attacker, connection, drip, *, whole, reads):
    """Read what came, drip; return False if the service has ended the connection."""
    poll = select.poll()
    poll.register(connection, select.POLLIN | _GONE)
    happened = dict(poll.poll(0)).get(connection.fileno(), 0)
    if whole and happened & select.POLLIN:
        attacker.waits_for(connection)
    with suppress(OSError):
        if reads and happened & select.POLLIN:
            connection.recv(1 << 16)
        if drip and _name(connection) in attacker.held:
            connection.send(drip)
    if happened & _GONE:
        attacker.answers["ended"] += 1
        connection.close()
    return not happened & _GONE


def ask(attacker, content):
    """Ask the same again and again, on a connection each, and count the statuses."""
    while attacker.seconds_left > 0:
        if connection := attacker.connect():
            with connection:
                with suppress(OSError):  # it may be answered before it has been read
                    connection.sendall(content)
                try:
                    attacker.answers[connection.recv(12)[9:].decode() or "ended"] += 1
                except OSError:
                    attacker.answers["ended"] += 1


def hang_up(attacker, content):
    """Ask again and again, and be gone before the answer."""
    while attacker.seconds_left > 0:
        if connection := attacker.connect():
            with connection, suppress(OSError):
                connection.sendall(content)
            time.sleep(_PAUSE)


def _everything(attacker):
    """Let each attacker do its share of all the others at once."""
    share = list(ATTACKS.values())[ADDRESSES.index(attacker.address) : -1 : len(ADDRESSES)]
    with ThreadPoolExecutor(len(share)) as pool:
        list(pool.map(lambda attack: attack(attacker), share))


def _predict(kind, body):
    return request("/v1/predict", kind, body)


ATTACKS = {
    "none": lambda a: time.sleep(a.seconds_left),
    "slow heads": lambda a: hold(a, 20, b"GET / HTTP/1.1\r\nx: ", b"a"),
    "slow bodies": lambda a: hold(a, 20, request("/v1/predict", PHOTO, b"", length=10**6), b"a"),
    "slow readers": lambda a: hold(
        a, 5, request("/v1/predict?steps=true", FORM, payloads.noise_form()),
        whole=True, reads=False, receive_buffer=4096,
    ),
    "silent sockets": lambda a: hold(a, 160, b""),
    "stray bytes after an answer": lambda a: hold(a, 20, payloads.GET, b"\r\n", whole=True),
    "bodies that nobody reads": lambda a: hold(
        a, 5, request("/nowhere", PHOTO, b"", length=300_000_000), bytes(1 << 18)
    ),
    "forms of 32 noise photos": lambda a: ask(a, _predict(FORM, payloads.noise_form())),
    "hang-ups with queued work": lambda a: hang_up(a, _predict(FORM, payloads.noise_form())),
    "WebP of 36 bytes, 49 megapixels": lambda a: ask(a, _predict(PHOTO, payloads.webp())),
    "progressive JPEG, 300 scans": lambda a: ask(a, _predict(PHOTO, payloads.jpeg(300))),
    "progressive JPEG, 1,000 scans": lambda a: ask(a, _predict(PHOTO, payloads.jpeg(1000))),
    "false boundaries, 18.9 MB": lambda a: ask(a, _predict(FORM, payloads.false_boundaries())),
    "JSON of depth 400,000": lambda a: ask(a, _predict(JSON, payloads.deep_json())),
    "an unread log": lambda a: ask(a, b"GET /" + 8_000 * b"a" + payloads.GET[12:]),
    "everything at once": _everything,
}  # fmt: skip


def main(name, port, seconds):
    """Run one attack, and print what came of it."""
    attackers = [Attacker(address, int(port), float(seconds)) for address in ADDRESSES]
    with ThreadPoolExecutor(len(attackers)) as pool:
        list(pool.map(ATTACKS[name], attackers))
    answers = sum((attacker.answers for attacker in attackers), Counter())
    held = {key: since for attacker in attackers for key, since in attacker.held.items()}
    json.dump({"answers": answers, "held": held}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
