"""The published files: found, verified, downloaded; and the real ones, as published."""

import errno
import functools
import gzip
import hashlib
import http.server
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_utils import data
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.data import downloads, published
from fmnist_utils.errors import FailureError

NAMES = (*published.TRAIN, *published.TEST)
DEAD = "http://127.0.0.1:9/"  # the discard port: nothing answers

# --- A small published data set, and mirrors on this machine -------------------------------------


@pytest.fixture(scope="module")
def files(idx) -> dict[str, bytes]:
    """The four files, gzipped, of 40 training and 20 test images."""
    train, test = data.sketches(40, seed=5), data.sketches(20, seed=6)
    return {
        name: gzip.compress(idx(array)) for name, array in zip(NAMES, (*train, *test), strict=True)
    }


@pytest.fixture
def publish(files, tmp_path, monkeypatch):
    """Make them Fashion-MNIST, to be found in two empty folders or on the mirrors given."""
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path / "chosen"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hashes = {
        name: hashlib.sha256(gzip.decompress(content)).hexdigest()
        for name, content in files.items()
    }

    def _publish(*mirrors: str) -> None:
        changed = published.PUBLISHED["fashion_mnist"]._replace(mirrors=mirrors, sha256=hashes)
        monkeypatch.setitem(published.PUBLISHED, "fashion_mnist", changed)

    _publish(DEAD)
    return _publish


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves files from a folder of its own and gives the address."""
    servers = []

    def _serve(contents: dict[str, bytes] | None = None, handler: Any = None) -> str:
        folder = tmp_path / f"mirror{len(servers)}"
        put(folder, contents or {})
        handler = handler or functools.partial(Quiet, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield _serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def put(folder: Path, contents: dict[str, bytes], suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)


def everything_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_found_in_the_chosen_folder_gzipped_or_not(publish, files, tmp_path):
    plain = {name: gzip.decompress(files[name]) for name in NAMES[:2]}
    put(tmp_path / "chosen/fashion-mnist", plain, suffix="")
    put(tmp_path / "keras/datasets/fashion-mnist", files)
    train, test = data.load_published("fashion_mnist")
    np.testing.assert_array_equal(train.images, data.sketches(40, seed=5).images)
    np.testing.assert_array_equal(test.labels, data.sketches(20, seed=6).labels)
    assert train.labels.dtype == np.int64
    status = data.status("fashion_mnist")
    assert [file.state for file in status] == ["verified"] * 4
    assert status[0].path == tmp_path / "chosen/fashion-mnist" / NAMES[0]
    assert status[2].path == tmp_path / "keras/datasets/fashion-mnist" / f"{NAMES[2]}.gz"


@pytest.mark.parametrize(
    "folder",
    [
        "chosen",
        "chosen/fashion_mnist",
        "chosen/FashionMNIST/raw",
        "keras/datasets",
        "keras",
        "keras/fashion-mnist",  # KERAS_HOME set to its own datasets/
    ],
)
@pytest.mark.parametrize("kaggle", [False, True])
def test_the_four_files_are_found_where_people_keep_them(publish, files, tmp_path, folder, kaggle):
    kept = {name: gzip.decompress(content) for name, content in files.items()}
    if kaggle:
        kept = {name.replace("-idx", ".idx"): content for name, content in kept.items()}
    put(tmp_path / folder, kept, suffix="")
    assert len(data.load_published()[0].images) == 40
    assert {status.state for status in data.status("fashion_mnist")} == {"verified"}


@pytest.mark.parametrize("unpacked", [gzip.decompress, lambda raw: raw])
def test_what_is_kept_as_gz_is_gzip(publish, serve, files, tmp_path, unpacked):
    publish(serve({name: unpacked(content) for name, content in files.items()}))
    data.load_published()
    for name in NAMES:
        kept = (tmp_path / "chosen" / "fashion-mnist" / f"{name}.gz").read_bytes()
        assert gzip.decompress(kept) == gzip.decompress(files[name])


def test_downloads_what_is_missing_into_the_chosen_folder(publish, serve, files, tmp_path, capsys):
    publish(mirror := serve(files))
    train, _ = data.load_published("fashion_mnist")
    assert train.images.shape == (40, 28, 28)
    assert everything_in(tmp_path / "chosen") == {f"{name}.gz" for name in NAMES}
    assert not (tmp_path / "keras").exists()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        f"Downloading Fashion-MNIST's train images from {mirror}train-images-idx3-ubyte.gz"
    )
    assert len(said) == 4
    publish(DEAD)  # the second time, no mirror is needed
    data.load_published("fashion_mnist")


@pytest.mark.parametrize("first", ["dead", "empty", "damaged"])
def test_the_second_mirror_is_used_where_the_first_fails(first, publish, serve, files, tmp_path):
    bad = {"empty": {}, "damaged": {name: files[name][:-20] for name in NAMES}}
    publish(DEAD if first == "dead" else serve(bad[first]), serve(files))
    assert data.load_test("fashion_mnist").images.shape == (20, 28, 28)
    kept = tmp_path / "chosen/fashion-mnist" / f"{NAMES[2]}.gz"
    assert kept.read_bytes() == files[NAMES[2]]


def test_a_damaged_download_is_not_kept(publish, serve, files, tmp_path):
    swapped = dict(zip(NAMES, (files[NAMES[2]], *list(files.values())[1:]), strict=True))
    publish(mirror := serve(swapped))
    message = f"what {mirror} sent holds Fashion-MNIST's test images instead of"
    with pytest.raises(FailureError, match=message):
        data.load_published("fashion_mnist")
    assert not (tmp_path / "chosen").exists()


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends without an end: a body, a byte of it now and then, or a head like that."""

    kind = "body"

    def do_GET(self):
        with suppress(OSError):  # the client has gone
            if self.kind != "slow head":
                self.send_response(200)
                self.end_headers()
            for _ in range(50):
                self.wfile.write(b"x" * (2**16 if self.kind == "body" else 1))
                time.sleep(0 if self.kind == "body" else 0.05)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("body", "sent is of more than 1,000,000 bytes"),
        ("slow body", "failed with TimeoutError"),
        ("slow head", "failed with TimeoutError"),
    ],
)
def test_a_mirror_that_never_ends_is_given_up(kind, message, publish, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_MOST_BYTES", 1_000_000)
    monkeypatch.setattr(downloads, "_SECONDS", 0.5)
    handler = type("Handler", (Endless,), {"kind": kind})
    publish(serve(handler=handler))
    with pytest.raises(FailureError, match=message):
        data.load_test()
    assert not (tmp_path / "chosen").exists()


def test_a_gzip_of_far_more_is_refused_wherever_it_is(publish, serve, files, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_MOST_BYTES", 2**20)
    bomb = dict.fromkeys(NAMES, gzip.compress(bytes(2**22)))
    put(tmp_path / "chosen/fashion-mnist", bomb)
    assert data.status("fashion_mnist")[0].state == "damaged: unpacks to more than 1,048,576 bytes"
    publish(serve(bomb), serve(files))
    with pytest.warns(UserWarning, match="unpacks to more than"):
        assert len(data.load_test().labels) == 20


def test_https_comes_first():
    for dataset in ("fashion_mnist", "mnist"):
        secure = [m.startswith("https:") for m in published.PUBLISHED[dataset].mirrors]
        assert secure == sorted(secure, reverse=True)
        assert secure[0]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(publish, files, tmp_path):
    put(tmp_path / "keras/datasets/fashion-mnist", files)
    (tmp_path / "chosen/fashion-mnist").mkdir(parents=True)
    os.mkfifo(tmp_path / "chosen/fashion-mnist" / NAMES[3])
    with pytest.warns(UserWarning, match="pipe or a device"):
        assert len(data.load_test().labels) == 20


def test_no_data_and_no_network_is_one_sentence_with_the_remedy(publish, tmp_path):
    with pytest.raises(FailureError) as error:
        data.load_published("fashion_mnist")
    for part in (
        "Fashion-MNIST",
        str(tmp_path / "chosen/fashion-mnist"),
        str(tmp_path / "keras/datasets/fashion-mnist"),
        DEAD,
        "ConnectionError",
        "connect to the network",
        "FMNIST_DATA_DIR",
    ):
        assert part in str(error.value)
    assert [file.state for file in data.status("fashion_mnist")] == ["missing"] * 4


def test_a_truncated_file_is_replaced_by_a_download(publish, serve, files, tmp_path):
    folder = tmp_path / "chosen/fashion-mnist"
    put(folder, files | {NAMES[0]: files[NAMES[0]][:-100]})
    assert "damaged gzip" in data.status("fashion_mnist")[0].state
    publish(serve(files))
    with pytest.warns(UserWarning, match=f"{NAMES[0]}.gz has .* damaged gzip"):
        data.load_published("fashion_mnist")
    assert (folder / f"{NAMES[0]}.gz").read_bytes() == files[NAMES[0]]
    assert data.status("fashion_mnist")[0].state == "verified"


def test_a_truncated_file_is_named_where_there_is_no_network(publish, files, tmp_path):
    folder = tmp_path / "chosen/fashion-mnist"
    put(folder, files | {NAMES[0]: files[NAMES[0]][:-100]})
    with pytest.raises(FailureError, match=f"{folder / NAMES[0]}.gz has .* damaged gzip"):
        data.load_published("fashion_mnist")


def test_a_bad_file_is_passed_over_for_a_good_one(publish, files, tmp_path):
    put(tmp_path / "chosen/fashion-mnist", {NAMES[3]: b"<html>404</html>"})
    put(tmp_path / "keras/datasets/fashion-mnist", files)
    with pytest.warns(UserWarning, match="SHA-256"):
        assert data.load_test("fashion_mnist").images.shape == (20, 28, 28)


def test_a_swapped_file_is_named(publish, files, tmp_path):
    put(tmp_path / "chosen/fashion-mnist", {NAMES[0]: files[NAMES[1]]})
    first = data.status("fashion_mnist")[0]
    assert first.state == (
        "damaged: holds Fashion-MNIST's train labels instead of Fashion-MNIST's train images"
    )
    assert first.path == tmp_path / "chosen/fashion-mnist" / f"{NAMES[0]}.gz"


def test_a_full_disk_is_a_failure_that_leaves_nothing(publish, serve, files, tmp_path, monkeypatch):
    publish(serve(files))

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FailureError, match=r"No space left on device.*FMNIST_DATA_DIR"):
        data.load_test("fashion_mnist")
    assert not everything_in(tmp_path / "chosen")


def test_an_interrupted_write_leaves_nothing(publish, serve, files, tmp_path, monkeypatch):
    publish(serve(files))
    write = Path.write_bytes

    def interrupted(self, content):
        write(self, content[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load_test("fashion_mnist")
    assert not list((tmp_path / "chosen/fashion-mnist").iterdir())


def test_a_folder_that_cannot_be_written_to_is_passed_over(
    publish, serve, files, tmp_path, monkeypatch
):
    publish(serve(files))
    (tmp_path / "chosen").touch()  # a file, where a folder should be
    with pytest.warns(UserWarning, match="cannot be read"):
        data.load_test("fashion_mnist")
    assert len(everything_in(tmp_path / "keras")) == 2
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "chosen"))
    with pytest.raises(FailureError, match=r"cannot be kept .*Not a directory"):
        data.load_test("fashion_mnist")


# --- The real data -------------------------------------------------------------------------------


@pytest.mark.real_data
def test_fashion_mnist_is_as_published():
    train, test = data.load_published("fashion_mnist")
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(train.labels).tolist() == [6_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert [CLASS_NAMES[label] for label in train.labels[:3]] == ["Ankle boot"] + [
        "T-shirt/top"
    ] * 2
    # The mean and deviation that PyTorch users normalise with.
    assert train.images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert train.images.std() / 255 == pytest.approx(0.3530, abs=1e-4)


@pytest.mark.real_data
def test_mnist_is_as_published():
    train, test = data.load_published("mnist")
    assert (len(train.labels), len(test.labels)) == (60_000, 10_000)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)


@pytest.mark.real_data
def test_files_of_another_data_set_are_named(tmp_path, monkeypatch):
    found = data.status("mnist")[0].path
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / found.name).symlink_to(found)
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert "holds MNIST's train images instead of Fashion" in data.status("fashion_mnist")[0].state
