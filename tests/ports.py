"""Ports for services that tests start."""

import random
import socket
from contextlib import closing


def free_port() -> int:
    """Return a port that is free, of those that the system gives to no one by itself.

    One that it chose could go to another test's connection before the service asks for it.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
