"""Files and requests with changed, missing and added bytes: read, or refused in one sentence.

Two hundred of each kind; `pytest --hypothesis-profile long` on this module takes 10,000.
"""

import gzip
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from fmnist_utils import data
from fmnist_utils.cli import data_files
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos import prepare
from fmnist_utils.service.app import create_app

IMAGES, LABELS = data.sketches(3, seed=0)


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    write(content := io.BytesIO())
    return content.getvalue()


def picture(kind: str) -> bytes:
    return written(lambda file: Image.fromarray(IMAGES[0]).convert("RGB").save(file, kind))


TABLE = "\n".join(
    [
        ",".join(["label", *(f"pixel{1 + i}" for i in range(784))]),
        *(",".join(map(str, [n, *image.ravel()])) for n, image in zip(LABELS, IMAGES, strict=True)),
    ]
).encode()
IDX = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28]) + IMAGES.tobytes()
WHOLE = {
    "idx": IDX,
    "idx.gz": gzip.compress(IDX),
    "csv": TABLE,
    "csv.gz": gzip.compress(TABLE),
    "npz": written(lambda file: np.savez_compressed(file, x=IMAGES, y=LABELS)),
    "npy": written(lambda file: np.save(file, IMAGES)),
    **{kind.lower(): picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")},
}


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """Change some bytes, most often of a file's head, and cut it off or add to it."""
    content = bytearray(whole)
    places = st.integers(0, min(200, len(whole) - 1)) | st.integers(0, len(whole) - 1)
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = value
    start, end = sorted(draw(st.tuples(places, places)))
    kind = draw(st.sampled_from(["as it is", "cut off", "without a part", "longer"]))
    if kind == "cut off":
        del content[end:]
    elif kind == "without a part":
        del content[start:end]
    elif kind == "longer":
        content[start:start] = draw(st.binary(max_size=50))
    return bytes(content)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "file"


@pytest.mark.parametrize("kind", WHOLE)
def test_a_mutated_file_is_read_or_refused_in_one_sentence(kind: str, path: Path) -> None:
    is_table = kind.partition(".")[0] in ("idx", "csv", "npz", "npy")

    @settings(max_examples=max(200, settings().max_examples))
    @given(mutated(WHOLE[kind]))
    def reads_or_refuses(content: bytes) -> None:
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                data_files.describe(path, "raise") if is_table else prepare.read(path)
        except BadInputError as error:
            assert str(error).startswith(str(path))  # noqa: PT017

    path.write_bytes(WHOLE[kind])
    data_files.describe(path, "raise") if is_table else prepare.read(path)
    reads_or_refuses()


_PART = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n%b\r\n'
REQUESTS = {
    "json": (json.dumps({"images": IMAGES[:1].tolist()}).encode(), "application/json"),
    "form": (
        _PART % WHOLE["png"] + _PART % WHOLE["png"] + b"--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
    "image": (WHOLE["png"], "image/png"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app()) as client:
        yield client


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_mutated_request_is_answered_or_refused_in_one_sentence(
    kind: str, client: TestClient
) -> None:
    whole, media_type = REQUESTS[kind]

    @settings(max_examples=max(200, settings().max_examples))
    @given(mutated(whole))
    def answers_or_refuses(content: bytes) -> None:
        answer = client.post("/v1/predict", content=content, headers={"content-type": media_type})
        assert answer.status_code in (200, 400, 413, 422)  # 500 would be a traceback
        assert answer.status_code == 200 or answer.json()["detail"].endswith(".")

    assert client.post(
        "/v1/predict", content=whole, headers={"content-type": media_type}
    ).is_success
    answers_or_refuses()
