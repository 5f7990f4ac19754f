"""The service, over HTTP as its clients see it."""

import asyncio
import http.client
import io
import json
import signal
import socket
import struct
import threading
import time
import zlib
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ports import free_port
from pydantic import ValidationError
from starlette.testclient import TestClient

from fmnist_utils import data
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import FailureError
from fmnist_utils.photos.catalogue import Catalogue
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.service.app import create_app
from fmnist_utils.service.batching import LARGEST, Batcher
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import PixelImages
from fmnist_utils.similarity import Index

PREDICTOR = Predictor()
SKETCHES = data.sketches(12, seed=5)
LIMITS = Limits(bytes=300_000, pixels=2_000_000, files=4, seconds=5)


def _catalogue():
    embeddings = PREDICTOR.predict(SKETCHES.images).embedding
    return Catalogue(Index(embeddings), *SKETCHES)


@pytest.fixture(scope="module")
def client():
    app = create_app(PREDICTOR, limits=LIMITS, make_catalogue=_catalogue)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def encoded(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


PNG = encoded(SKETCHES.images[0])


def post(client, path, content, kind="image/png"):
    return client.post(path, content=content, headers={"content-type": kind})


def test_each_way_to_send_an_image_gives_the_same_answer(client):
    raw = post(client, "/v1/predict", PNG)
    form = client.post("/v1/predict", files={"photo": ("a.png", PNG)})
    array = client.post("/v1/predict", json={"images": SKETCHES.images[:1].tolist()})
    bare = client.post("/v1/predict", json=SKETCHES.images[0].tolist())
    answers = [r.json()["predictions"][0] for r in (raw, form, array, bare)]
    assert {r.status_code for r in (raw, form, array, bare)} == {200}
    assert len({json.dumps(answer["classes"]) for answer in answers}) == 1
    expected = PREDICTOR.predict(SKETCHES.images[:1])
    assert answers[0]["answer"] == expected.names()[0]
    ranked = [(c["class"], c["probability"]) for c in answers[0]["classes"]]
    assert ranked == [(name, round(p, 4)) for name, p in expected.top(3)[0]]


def test_several_files_are_answered_in_their_order(client):
    files = [("any", (f"../../{i}.png", encoded(SKETCHES.images[i]))) for i in range(4)]
    lines = client.post("/v1/predict?top=1", files=files).json()["predictions"]
    expected = PREDICTOR.predict(SKETCHES.images[:4])
    assert [line["answer"] for line in lines] == expected.names()
    assert [line["name"] for line in lines] == [name for _, (name, _) in files]


def test_steps_are_pictures(client):
    photo = np.full((60, 40, 3), 230, np.uint8)
    photo[15:45, 10:30] = 40
    steps = post(client, "/v1/predict?steps=true", encoded(photo)).json()["predictions"][0]["steps"]
    assert list(steps) == ["photo", "cut out", "grey", "28x28"]
    assert all(address.startswith("data:image/png;base64,") for address in steps.values())


def test_steps_of_many_photos_are_refused_before_any_is_read():
    limits = Limits(files=8)
    with TestClient(create_app(PREDICTOR, limits=limits)) as asking:
        files = [("f", ("a.png", b"no image"))] * 5
        answer = asking.post("/v1/predict?steps=true", files=files)
    assert answer.status_code == 422
    assert "at most 4 photos a request; received 5" in answer.json()["detail"]


def test_an_explanation_is_a_picture_of_the_class_asked_for(client):
    answer = post(client, "/v1/explain?class=Bag", PNG)
    assert answer.headers["x-class"] == "Bag"
    assert Image.open(io.BytesIO(answer.content)).size == (280, 280)
    unasked = post(client, "/v1/explain", PNG)
    best = PREDICTOR.predict(SKETCHES.images[:1]).probabilities[0].argmax()
    assert unasked.headers["x-class"] == CLASS_NAMES[best]


def test_the_most_similar_images_have_the_largest_products_of_embeddings(client):
    embeddings = PREDICTOR.predict(SKETCHES.images).embedding
    for i in (0, 7):
        found = post(client, "/v1/similar?k=3", encoded(SKETCHES.images[i])).json()["similar"]
        similarities = embeddings @ embeddings[i]
        nearest = np.argsort(-similarities, kind="stable")[:3]
        assert [one["index"] for one in found] == nearest.tolist()
        assert [one["class"] for one in found] == [CLASS_NAMES[SKETCHES.labels[n]] for n in nearest]
        np.testing.assert_allclose(
            [one["similarity"] for one in found], similarities[nearest], atol=1e-3
        )


def _detail_of_similar(client):
    answer = post(client, "/v1/similar", PNG)
    assert answer.status_code == 503
    return answer.json()["detail"]


def test_without_training_images_similar_says_why():
    asked = threading.Event()

    def nothing():
        assert asked.wait(60)
        raise FailureError("no data")

    with TestClient(create_app(PREDICTOR)) as client:
        assert "started without" in _detail_of_similar(client)
    with TestClient(create_app(PREDICTOR, make_catalogue=nothing)) as client:
        assert "ask again" in _detail_of_similar(client)
        asked.set()
        deadline = time.monotonic() + 60
        while "its log" not in _detail_of_similar(client):
            assert time.monotonic() < deadline


def test_it_tells_how_it_is(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/v1/model").json() == PREDICTOR.card
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("http-equiv", "")  # no asset from elsewhere
    before = client.get("/metrics").text
    post(client, "/v1/predict", b"no image")
    after = client.get("/metrics").text
    line = 'fmnist_requests_total{path="/v1/predict",status="422"}'
    count = [
        sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(line))
        for text in (before, after)
    ]
    assert count[1] == count[0] + 1


def test_requests_have_a_number(client, caplog):
    caplog.set_level("INFO", logger="fmnist.requests")
    assert client.get("/healthz", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    assert json.loads(caplog.records[-1].message)["request_id"] == "a-1"
    odd = client.get("/healthz", headers={"x-request-id": 'a" b'}).headers["x-request-id"]
    assert len(odd) == 32


def _bomb(width, height, kind="PNG"):
    if kind != "PNG":
        return encoded(np.zeros((height, width), np.uint8), kind)
    rows = zlib.compress(bytes((width + 1) * height), 9)

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content
            + struct.pack(">I", zlib.crc32(name + content))
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


HOSTILE = {
    "nothing": (b"", "image/png", 422),
    "no image": (b"hello", "image/png", 422),
    "a page": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 422),
    "truncated": (PNG[: len(PNG) // 2], "image/png", 422),
    "PNG bomb": (_bomb(8_000, 8_000), "image/png", 422),
    "GIF bomb": (_bomb(1_500, 1_500, "GIF"), "image/gif", 422),
    "WebP bomb": (_bomb(1_500, 1_500, "WEBP"), "image/webp", 422),
    "very wide": (_bomb(50_000, 1), "image/png", 422),
    "too much": (bytes(300_001), "image/png", 413),
    "another type": (PNG, "text/plain", 415),
    "no type": (PNG, "", 415),
    "a form without boundary": (PNG, "multipart/form-data", 400),
    "a form without file": (b"--x\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x", 400),
    "no JSON": (b"{", "application/json", 400),
    "deep JSON": (b"[" * 100_000, "application/json", 400),
    "NaN": (b'{"images": [[NaN]]}', "application/json", 400),
    "a number": (b"3", "application/json", 422),
    "null": (b"null", "application/json", 422),
    "ragged": (b'{"images": [[1, 2], [3]]}', "application/json", 422),
    "another shape": (json.dumps([[0] * 28] * 27).encode(), "application/json", 422),
    "too bright": (json.dumps([[256] * 28] * 28).encode(), "application/json", 422),
    "huge numbers": (json.dumps([[10**30] * 28] * 28).encode(), "application/json", 422),
    "fractions": (json.dumps([[0.5] * 28] * 28).encode(), "application/json", 422),
    "long strings": (json.dumps(["a" * 1000] + [""] * 1000).encode(), "application/json", 422),
    "endless lists": (b"[" + b"[]," * 60_000 + b"[]]", "application/json", 413),
    "a form without end": (b"--x\r\n\r\nabc", "multipart/form-data; boundary=x", 400),
    "a part without head": (b"--x\r\nabc\r\n--x--", "multipart/form-data; boundary=x", 400),
    "false boundaries": (b"\r\n--b\rX" * 40_000, "multipart/form-data; boundary=b", 400),
    "a form of fields": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nc\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
        422,
    ),
    "too many images": (json.dumps([[[0] * 28] * 28] * 5).encode(), "application/json", 422),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_refused_in_the_same_form(client, name):
    content, kind, status = HOSTILE[name]
    answer = post(client, "/v1/predict", content, kind)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert client.get("/readyz").status_code == 200


def test_a_pixel_and_a_polyglot_are_images_like_others(client):
    assert post(client, "/v1/predict", encoded(np.zeros((1, 1, 3), np.uint8))).status_code == 200
    assert post(client, "/v1/predict", PNG + b"PK\x03\x04 <script>").status_code == 200


def test_too_many_files_are_refused(client):
    files = [("f", ("a.png", PNG))] * 5
    assert client.post("/v1/predict", files=files).status_code == 400
    assert client.post("/v1/explain", files=files[:2]).status_code == 422


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/predict?top=0", ["query.top", "1", 'received "0"']),
        ("/v1/predict?top=x", ["query.top", "integer", 'received "x"']),
        ("/v1/explain?class=Hat", ["query.class", *CLASS_NAMES, 'received "Hat"']),
        ("/v1/similar?k=0", ["query.k", "1", 'received "0"']),
    ],
)
def test_parameters_out_of_range_are_named(client, path, named):
    answer = post(client, path, PNG)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [words for words in named if words not in answer.json()["detail"]] == []


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ([[0] * 28] * 27, "shape (27, 28)"),
        (np.zeros((1, 28, 28, 1), int).tolist(), "shape (1, 28, 28, 1)"),
        ([0] * 784, "shape (784,)"),
        ([[[0.0] * 28] * 28], "0.0 at images.0.0.0"),
        ({}, "an empty object"),
        ([[[0] * 28] * 28, [[0] * 28] * 27 + [[0] * 27]], "a list of 27 at images.1.27"),
        ({"images": [[0] * 28] * 27 + [[0] * 27 + [256]]}, "256 at images.0.27.27"),
        ([[True] * 28] * 28, "true at images.0.0.0"),
        ([["0"] * 28] * 28, '"0" at images.0.0.0'),
        ({"image": []}, 'the keys "image"'),
        ({"images": []}, "shape (0,)"),
        ({"images": {}}, "an object"),
        ([[[0] * 28] * 28] * 5, "5 images"),
    ],
)
def test_arrays_of_another_shape_are_told_what_is_needed_and_received(client, sent, received):
    answer = client.post("/v1/predict", json=sent)
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        'Need {"images": …} with 1 to 4 images of 28 rows of 28 whole numbers from 0 to 255; '
        f"received {received}. A photo is sent as a file in a form, or as the body."
    )


def test_pixels_dark_on_white_are_answered_as_bright_on_black(client):
    image = data.sketches(1, seed=0).images[0]
    answers = [
        client.post("/v1/predict", json={"images": pixels.tolist()}).json()
        for pixels in (image, 255 - image)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/explain"])
def test_a_type_that_is_not_read_is_told_what_the_endpoint_reads(client, path):
    answer = client.post(path, content=b"a,b", headers={"content-type": "Text/CSV"})
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("Cannot read text/csv: send image/jpeg, ")
    assert ("application/json" in answer.json()["detail"]) == (path == "/v1/predict")


def test_a_large_wrong_array_costs_its_first_wrong_number():
    with pytest.raises(ValidationError) as found:
        PixelImages.model_validate([[["x"] * 28] * 28] * 1_000)
    assert found.value.error_count() == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda parts: st.lists(parts) | st.dictionaries(st.sampled_from(["images", "a"]), parts),
    )
)
def test_whatever_json_is_answered_or_refused(client, sent):
    answer = post(client, "/v1/predict", json.dumps(sent).encode(), "application/json")
    try:
        json.dumps(sent, allow_nan=False)  # NaN and infinity, which Python writes, are no JSON
    except ValueError:
        assert answer.status_code == 400
    else:
        assert answer.status_code == 422


def _turned():
    """Return a small JPEG whose camera was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(SKETCHES.images[0], "JPEG", exif=exif)


@settings(max_examples=60, deadline=None)
@given(
    content=st.sampled_from([PNG, _turned(), _turned()[:150]]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
)
def test_mutated_images_never_break_it(client, content, changes):
    broken = bytearray(content)
    for place, value in changes:
        broken[place % len(broken)] = value
    assert post(client, "/v1/predict", bytes(broken)).status_code in (200, 422)


def test_batches_form_while_the_model_works_and_everyone_gets_his_own():
    sizes, first = [], threading.Event()
    images = data.sketches(2 * LARGEST, seed=6).images

    opinions = np.random.default_rng(0).normal(size=(len(images), 11)).astype(np.float32)

    def slow(pictures, heard):
        sizes.append(len(pictures))
        first.wait(5)
        return PREDICTOR.predict(pictures, heard)

    async def ask():
        batcher = Batcher(slow)
        worker = asyncio.create_task(batcher.run())
        asked = [
            asyncio.create_task(batcher.predict(images[i : i + 1], opinions[i : i + 1]))
            for i in range(len(images))
        ]
        await asyncio.sleep(0.1)
        first.set()
        answers = await asyncio.gather(*asked)
        worker.cancel()
        return answers

    answers = asyncio.run(ask())
    assert sum(sizes) == len(images)
    assert max(sizes) == LARGEST
    expected = PREDICTOR.predict(images, opinions)
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer.embedding[0], expected.embedding[i], atol=1e-5)


def test_a_failure_reaches_those_who_wait_and_no_others():
    def fails_once(pictures, opinions):
        if pictures.any():
            raise RuntimeError("broken")
        return PREDICTOR.predict(pictures, opinions)

    async def ask():
        batcher = Batcher(fails_once)
        worker = asyncio.create_task(batcher.run())
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.predict(SKETCHES.images, np.zeros((len(SKETCHES.images), 11)))
        answers = await batcher.predict(np.zeros((1, 28, 28), np.uint8), np.zeros((1, 11)))
        worker.cancel()
        return answers

    assert len(asyncio.run(ask()).known) == 1


def asked(port, method, path, content=None):
    """Return status and body of a request to a process."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request(method, path, content, {"content-type": "image/png"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_process_that_is_told_to_end_answers_first(process):
    photo = np.random.default_rng(0).integers(0, 256, (2_000, 2_000, 3), dtype=np.uint8)
    content, statuses = encoded(photo, compress_level=0), []
    with process() as (running, port):
        asker = threading.Thread(
            target=lambda: statuses.append(asked(port, "POST", "/v1/predict", content)[0])
        )
        asker.start()
        # Until it is at work, beside the request that asks.
        while "at_work 2.0" not in asked(port, "GET", "/metrics")[1]:
            assert not statuses, "answered before the signal: send a larger photo"
        running.send_signal(signal.SIGTERM)
        asker.join(30)
        assert statuses == [200]
        _, log = running.communicate(timeout=30)
        assert running.returncode in (0, -signal.SIGTERM)
        assert any('"path": "/v1/predict", "status": 200' in line for line in log.splitlines())


def test_metrics_can_have_a_port_of_their_own(process):
    own = free_port()
    with process("--metrics-port", str(own)) as (_, port):
        assert asked(port, "GET", "/healthz")[0] == 200
        assert asked(port, "GET", "/metrics")[0] == 404
        status, text = asked(own, "GET", "/metrics")
        assert status == 200
        assert 'fmnist_requests_total{path="/healthz",status="200"}' in text


def test_a_failure_has_the_number_of_its_request_and_says_nothing_else(caplog):
    class Broken(Predictor):
        def predict(self, pictures, opinions=None):
            raise RuntimeError("a secret")

    with TestClient(create_app(Broken())) as client:
        answer = client.post(
            "/v1/predict", content=PNG, headers={"content-type": "image/png", "x-request-id": "n-7"}
        )
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "n-7"
    assert answer.json()["status"] == 500
    assert "secret" not in answer.text
    assert any("n-7" in record.message and record.exc_info for record in caplog.records)


def test_a_crowd_is_told_to_come_back():
    with TestClient(create_app(PREDICTOR, limits=Limits(waiting=0))) as client:
        answer = post(client, "/v1/predict", PNG)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200


def test_names_of_any_bytes_can_be_sent_back(client):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="\xff;\xc3\xa9.png"\r\n\r\n'
        + PNG
        + b"\r\n--x--\r\n"
    )
    answer = post(client, "/v1/predict", form, "multipart/form-data; boundary=x")
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["name"] == "\ufffd;é.png"


@pytest.mark.parametrize(
    ("sent", "status"), [(b"", 408), (b"GET /healthz HTTP/1.1\r\n", 408), (b"a" * 70_000, 400)]
)
def test_a_head_that_does_not_end_is_not_waited_for(process, sent, status):
    with (
        process("--max-seconds", "0.5") as (_, port),
        closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as slow,
    ):
        slow.sendall(sent)
        assert slow.recv(100).startswith(b"HTTP/1.1 %d" % status)
        assert asked(port, "GET", "/healthz")[0] == 200


def test_a_head_has_a_limit(process):
    with (
        process() as (_, port),
        closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as large,
    ):
        large.sendall(b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 70_000)
        assert large.recv(100).startswith(b"HTTP/1.1 431")


def test_a_client_that_sends_too_slowly_is_told_and_others_are_served(process):
    with (
        process("--max-seconds", "0.5") as (_, port),
        closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as slow,
    ):
        slow.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000\r\n\r\nsome"
        )
        assert asked(port, "POST", "/v1/predict", PNG)[0] == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
