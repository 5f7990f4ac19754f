"""Shares, turns, and requests whose client has gone or whose time is over."""

import asyncio
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from fmnist_utils.service.batching import Batcher
from fmnist_utils.service.fairness import ADDRESS, Shares, Turns
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.middleware import Metrics, RequestMiddleware


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.booleans())))
def test_shares_never_exceed_the_total_nor_a_quarter_by_one(moves):
    shares, held = Shares(100), {"a": [], "b": [], "c": []}
    for client, amount, back in moves:
        if back and held[client]:
            shares.give(client, held[client].pop())
        elif shares.take(client, amount):
            held[client].append(amount)
        own = [sum(amounts) for amounts in held.values()]
        assert shares.taken == sum(own) <= 100
        assert max(own) <= 25


def test_however_many_take_all_they_can_something_is_left_for_the_next():
    shares = Shares(256)
    for client in "abcdefgh":
        while shares.take(client):
            pass
    assert shares.take("i", 10)
    assert all(shares.take(None) for _ in range(256 - shares.taken))
    assert not shares.take(None)


def ran(*asked, threads=1, pixels=10):
    """Return the order in which jobs, of (client, name, pixels), ended that came while one ran."""
    ended, hold = [], threading.Event()

    async def one(turns, client, name, n):
        ADDRESS.set(client)
        await turns.run(lambda: ended.append(name), n)

    async def all_of_them():
        turns = Turns(threads, pixels)
        first = asyncio.create_task(turns.run(lambda: hold.wait(5), pixels // 2))
        await asyncio.sleep(0.01)
        tasks = [asyncio.create_task(one(turns, *job)) for job in asked]
        await asyncio.sleep(0.01)
        if threads == 1:
            hold.set()
        else:  # what finds room runs beside the first
            while len(ended) < sum(n <= pixels - pixels // 2 for *_, n in asked):
                await asyncio.sleep(0.01)
            hold.set()
        await asyncio.gather(first, *tasks)

    asyncio.run(all_of_them())
    return ended


def test_one_photo_overtakes_a_form_of_many():
    form = [("crowd", i, 1) for i in range(32)]
    assert ran(*form, ("other", "one", 1)).index("one") <= 1


def test_what_fits_passes_what_does_not_and_nothing_is_left_out():
    large, small = ("a", "large", 10), ("a", "small", 2)
    assert ran(large, small, small, threads=2) == ["small", "small", "large"]


def test_what_a_turn_raises_reaches_its_asker():
    def broken():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(Turns(1, 1).run(broken))


def test_one_who_goes_loses_the_turn_but_what_runs_keeps_its_thread():
    running, most, lock = [0], [0], threading.Lock()

    def job():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1

    async def ask():
        turns, ran_after = Turns(1, 10), []
        gone = [asyncio.create_task(turns.run(job)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()
        began = time.monotonic()
        await turns.run(lambda: ran_after.append(running[0]))
        assert time.monotonic() - began < 0.5  # one job of twenty
        return ran_after

    assert asyncio.run(ask()) == [0]
    assert most == [1]


def test_a_batch_takes_those_with_little_first():
    batches, hold = [], threading.Event()

    def predict(images, opinions):
        hold.wait(5)
        batches.append(images[:, 0, 0].tolist())
        return images

    async def ask(batcher, client, value, n):
        ADDRESS.set(client)
        images = np.full((n, 28, 28), value, np.uint8)
        return await batcher.predict(images, np.zeros((n, 11), np.float32))

    async def all_of_them():
        batcher = Batcher(predict)
        worker = asyncio.create_task(batcher.run())
        forms = [asyncio.create_task(ask(batcher, "crowd", 1, 32)) for _ in range(10)]
        await asyncio.sleep(0.01)
        one = asyncio.create_task(ask(batcher, "other", 2, 1))
        await asyncio.sleep(0.01)
        hold.set()
        assert (await one).tolist() == np.full((1, 28, 28), 2).tolist()
        await asyncio.gather(*forms)
        worker.cancel()

    asyncio.run(all_of_them())
    assert 2 in batches[1]


class Asked:
    """A client of an application in this process: what it sends, and when it goes."""

    def __init__(self, app, *, stays=True, address="10.0.0.1", **limits):
        self.metrics, self.sent, self.stays = Metrics(), [], stays
        self.limits = Limits(**limits)
        self.middleware = RequestMiddleware(
            app, limits=self.limits, metrics=self.metrics, memory=Shares(1_000)
        )
        self.scope = {
            "type": "http", "method": "POST", "path": "/", "headers": [], "client": (address, 1),
        }  # fmt: skip
        self.messages = [{"type": "http.request", "body": b"abc", "more_body": False}]

    async def _receive(self):
        if self.messages:
            return self.messages.pop(0)
        await asyncio.sleep(0.05 if not self.stays else 60)
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)

    def status(self):
        asyncio.run(self.middleware(self.scope, self._receive, self._send))
        return self.sent[0]["status"] if self.sent else None


def working(seconds, ended):
    async def app(scope, receive, send):
        await Request(scope, receive).body()
        with suppress(ZeroDivisionError):
            try:
                await asyncio.sleep(seconds)
            finally:
                ended.append(time.monotonic())
        await PlainTextResponse("done")(scope, receive, send)

    return app


def test_work_ends_when_its_client_goes():
    ended, began = [], time.monotonic()
    client = Asked(working(30, ended), stays=False)
    assert client.status() is None
    assert ended[0] - began < 1
    assert b'status="499"' in generate_latest(client.metrics.registry)


def test_work_ends_with_its_deadline_and_its_client_is_told_to_come_back():
    ended = []
    client = Asked(working(30, ended), seconds=0.05)
    assert client.status() == 503
    assert (b"retry-after", b"1") in client.sent[0]["headers"]
    assert ended


def test_what_was_taken_is_given_back():
    client = Asked(working(0, []))
    assert client.status() == 200
    assert client.middleware.memory.taken == client.middleware.requests.taken == 0


def test_more_than_there_is_room_for_is_refused_with_when_to_come_back():
    client = Asked(ExceptionMiddleware(working(0, [])))
    client.messages[:] = [{"type": "http.request", "body": bytes(300), "more_body": False}]
    assert client.status() == 503
    assert (b"retry-after", b"1") in client.sent[0]["headers"]
    assert client.middleware.memory.taken == 0
