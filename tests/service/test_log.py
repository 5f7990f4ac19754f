"""A log that nobody reads."""

import logging
import os
import signal
import time
from contextlib import closing
from http.client import HTTPConnection

from fmnist_utils.service.log import DroppingHandler


def _record(text):
    return logging.LogRecord("a", logging.INFO, "", 0, text, None, None)


def test_lines_that_nobody_takes_are_dropped_and_counted():
    reading, writing = os.pipe()
    handler = DroppingHandler(writing, most=10)
    began = time.monotonic()
    for _ in range(200):
        handler.emit(_record("x" * 10_000))  # a pipe holds 65,536 bytes
    assert time.monotonic() - began < 1
    handler.flush()  # gives up
    assert time.monotonic() - began < 3
    with os.fdopen(reading, encoding="utf-8") as read:
        lines = [read.readline() for _ in range(8)]
        handler.emit(_record("after"))
        while not lines[-1].startswith("after"):
            lines.append(read.readline())
        handler.flush()
        os.close(writing)
    told = [line for line in lines if "lines dropped" in line]
    assert len(told) == 1
    assert sum(line.startswith("xxx") for line in lines) + int(told[0].split(": ")[-1][:-2]) == 200


def test_lines_arrive_whole_and_in_order(tmp_path):
    with (tmp_path / "log").open("wb") as file, closing(DroppingHandler(file.fileno())) as handler:
        for i in range(500):
            handler.emit(_record(f"{i} é \ud800"))
        handler.flush()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{i} é ?" for i in range(500)]


def test_a_reader_that_has_gone_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    handler = DroppingHandler(writing)
    handler.emit(_record("a"))
    handler.flush()
    handler.emit(_record("b"))
    handler.flush()
    os.close(writing)


def test_a_service_whose_log_nobody_reads_answers_and_ends(process):
    with process() as (running, port), closing(HTTPConnection("127.0.0.1", port, timeout=10)) as c:
        for _ in range(800):  # lines of over 100 bytes; the pipe holds 65,536
            c.request("GET", "/healthz")
            assert c.getresponse().read() == b'{"status":"ok"}'
        running.send_signal(signal.SIGTERM)
        running.wait(10)
