"""Loading, verifying, downloading, reading other people's files, and the stand-in."""

import errno
import functools
import gzip
import hashlib
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from fmnist_utils import data
from fmnist_utils.classes import CLASS_NAMES, OOD
from fmnist_utils.data import Labelled, published
from fmnist_utils.errors import BadInputError, FailureError

IN_TMP = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
DEAD = "http://127.0.0.1:9/"  # the discard port: nothing answers


def idx(array: np.ndarray) -> bytes:
    """Write an IDX file as the format's page says."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


# --- A small published data set, and mirrors on this machine -------------------------------------


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
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

    def _serve(contents: dict[str, bytes]) -> str:
        folder = tmp_path / f"mirror{len(servers)}"
        put(folder, contents)
        handler = functools.partial(Quiet, directory=folder)
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


# --- Splits --------------------------------------------------------------------------------------


def numbered(n: int, n_classes: int, rng: np.random.Generator) -> Labelled:
    """Images that carry their own number, so that they can be followed."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(n), 256)
    return Labelled(images, rng.permutation(np.arange(n, dtype=np.int64) % n_classes))


def numbers(part: Labelled) -> list[int]:
    return (part.images[:, 0, 0].astype(int) * 256 + part.images[:, 0, 1]).tolist()


@settings(deadline=None)
@given(st.data(), st.integers(2, 10), st.integers(0, 99))
def test_split_is_a_stratified_seeded_partition(draw, n_classes, seed):
    n = draw.draw(st.integers(3 * n_classes, 400))
    size = draw.draw(st.integers(n_classes, n - n_classes))
    whole = numbered(n, n_classes, np.random.default_rng(seed))
    rest, validation = data.split(whole, size, seed=seed)
    assert len(validation.labels) == size
    assert sorted(numbers(rest) + numbers(validation)) == list(range(n))
    np.testing.assert_array_equal(validation.labels, whole.labels[numbers(validation)])
    expected = np.bincount(whole.labels) * size / n
    assert np.abs(np.bincount(validation.labels, minlength=n_classes) - expected).max() <= 1
    assert numbers(data.split(whole, size, seed=seed)[1]) == numbers(validation)


def test_another_seed_splits_otherwise():
    whole = numbered(400, 10, np.random.default_rng(0))
    parts = [numbers(data.split(whole, 100, seed=seed)[1]) for seed in (0, 1)]
    assert parts[0] != parts[1]


@pytest.mark.parametrize("size", [0, 9, 91, 100, -5])
def test_split_names_the_sizes_that_fit(size):
    whole = numbered(100, 10, np.random.default_rng(0))
    with pytest.raises(BadInputError, match=f"into {size} and the rest: choose 10 to 90"):
        data.split(whole, size)


def test_split_needs_two_images_of_each_class():
    one = Labelled(np.zeros((5, 28, 28), np.uint8), np.array([0, 0, 0, 0, 1]))
    with pytest.raises(BadInputError, match="the rarest of which has 1"):
        data.split(one, 2)
    with pytest.raises(BadInputError, match="give two images of each class"):
        data.split(Labelled(one.images[:0], one.labels[:0]), 0)


def test_sketches_load_like_a_published_data_set():
    loaded = data.load_training("sketches")
    assert np.bincount(loaded.train.labels).tolist() == [500] * 10
    assert np.bincount(loaded.validation.labels).tolist() == [100] * 10
    smaller = data.load_training("sketches", train_size=300)
    assert np.bincount(smaller.train.labels).tolist() == [30] * 10
    np.testing.assert_array_equal(smaller.validation.images, loaded.validation.images)
    assert len(data.load_test("sketches").labels) == 1_000
    assert data.status("sketches") == []


@pytest.mark.parametrize("train_size", [0, 9, 54_995, 55_001, 59_999, 60_001, -1])
def test_a_training_size_that_does_not_fit(train_size):
    with pytest.raises(BadInputError, match=r"choose 10 to 54,990 .*, 55,000 for .* 60,000"):
        data.load_training(train_size=train_size)


def test_everything_published_can_be_trained_on():
    loaded = data.load_training("sketches", train_size=6_000)
    assert (len(loaded.train.labels), len(loaded.validation.labels)) == (6_000, 0)
    digest = hashlib.sha256(loaded.train.images.tobytes()).hexdigest()
    assert data.hashes("sketches")["train-images-idx3-ubyte"] == digest


@pytest.mark.parametrize(
    "function", [data.load_training, data.load_published, data.load_test, data.hashes, data.status]
)
def test_an_unknown_data_set(function):
    message = "Unknown data set 'cifar10': choose one of fashion_mnist, mnist, sketches"
    with pytest.raises(BadInputError, match=message):
        function("cifar10")


# --- One-hot -------------------------------------------------------------------------------------


def test_one_hot():
    rows = data.one_hot([2, 0], classes=3)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.one_hot(np.arange(10)).argmax(axis=1).tolist() == list(range(10))
    assert data.one_hot([1, OOD], classes=4).tolist() == [[0, 1, 0, 0], [0.25] * 4]


@pytest.mark.parametrize("label", [-2, 10])
def test_one_hot_names_a_label_that_is_no_class(label):
    with pytest.raises(BadInputError, match=f"Label {label} is not a class: give 0 to 9"):
        data.one_hot([0, label])


# --- IDX -----------------------------------------------------------------------------------------

byte_arrays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0))


@IN_TMP
@given(byte_arrays, st.booleans(), st.sampled_from(["a", "a.gz"]))
def test_idx_round_trip(tmp_path, array, zipped, name):
    content = idx(array)
    (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    read = data.read_idx(tmp_path / name)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8
    assert read.flags.writeable


WHOLE = idx(np.arange(60).reshape(3, 4, 5))
BAD_IDX = {
    "truncated gzip": (gzip.compress(WHOLE)[:-12], "damaged gzip"),
    "corrupt gzip": (gzip.compress(WHOLE)[:20] + b"\xff" * 30, "damaged gzip"),
    "truncated payload": (WHOLE[:-7], r"has 53 bytes .* the 60 of shape \(3, 4, 5\): it is cut"),
    "trailing bytes": (WHOLE + b"x", "has 61 bytes .* the 60 .* followed by other data"),
    "wrong magic": (b"\x89PNG" + WHOLE, "begins with 89 50 4e 47 instead of"),
    "other type": (b"\x00\x00\x0d\x01" + WHOLE, "begins with 00 00 0d 01 instead of"),
    "half a header": (WHOLE[:9], "begins with 00 00 08 03 instead of"),
    "empty": (b"", "begins with nothing instead of"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_a_bad_idx_file_is_named(case, tmp_path):
    content, message = BAD_IDX[case]
    path = tmp_path / "bad-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=f"bad-idx3-ubyte .*{message}.*: get the file again"):
        data.read_idx(path)


@pytest.mark.parametrize("read", [data.read_idx, data.read_csv, data.read_folder])
def test_a_path_that_leads_nowhere(read, tmp_path):
    with pytest.raises(BadInputError, match=r"none cannot be read \(No such file .*check the path"):
        read(tmp_path / "none")


# --- CSV -----------------------------------------------------------------------------------------

HEADER = "label," + ",".join(f"pixel{i}" for i in range(1, 785))
ROW = ["3"] + ["7"] * 784


def write_csv(path: Path, *rows: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *(",".join(row) for row in rows)]) + "\n")
    return path


def changed(column: int, cell: str) -> list[str]:
    return [*ROW[:column], cell, *ROW[column + 1 :]]


@IN_TMP
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(785))),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_csv_round_trip(tmp_path, table, newline, quoted):
    table[:, 0] %= 10
    cells = table.astype(str).tolist()
    if quoted:
        cells = [[f'"{cell}"' for cell in row] for row in cells]
    text = newline.join([HEADER, *(",".join(row) for row in cells), ""])
    (tmp_path / "a.csv").write_text(text, newline="")
    read = data.read_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(read.images.reshape(-1, 784), table[:, 1:])
    np.testing.assert_array_equal(read.labels, table[:, 0])
    assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int64)


BAD_ROWS = {
    "missing": (changed(5, ""), "row 3, column pixel5 is missing instead of 0 to 255"),
    "text": (changed(5, "dark"), "row 3, column pixel5 is 'dark' instead of"),
    "fraction": (changed(784, "0.5"), "row 3, column pixel784 is '0.5' instead of"),
    "negative": (changed(1, "-1"), "row 3, column pixel1 is '-1' instead of"),
    "bright": (changed(1, "256"), "row 3, column pixel1 is '256' instead of"),
    "label": (
        changed(0, "10"),
        "row 3, column label is '10' instead of 0 to 9",
    ),
    "short": (ROW[:-1], "row 3 has 784 cells instead of 785"),
    "long": ([*ROW, "0"], "row 3 has 786 cells instead of 785"),
    "several": (["x", *ROW[1:-1], "y"], "row 3, column label .* and 1 more in this row"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_or_dropped(case, tmp_path):
    row, message = BAD_ROWS[case]
    path = write_csv(tmp_path / "a.csv", ROW, row, ROW)
    with pytest.raises(BadInputError, match=f"a.csv: 1 of 3 images .*{message}.*on_bad='drop'"):
        data.read_csv(path)
    with pytest.warns(UserWarning, match="1 of 3 images are bad .* and left out"):
        assert data.read_csv(path, on_bad="drop").labels.tolist() == [3, 3]


def test_many_bad_rows_are_counted(tmp_path):
    path = write_csv(tmp_path / "a.csv", ROW, *[ROW[:4]] * 12)
    with pytest.raises(BadInputError, match=r"12 of 13 images .*row 7 has 4 .*; and 7 more"):
        data.read_csv(path)


def test_csv_without_a_good_row(tmp_path):
    with pytest.raises(BadInputError, match="holds no image: check the path"):
        data.read_csv(write_csv(tmp_path / "a.csv"))
    with pytest.raises(BadInputError, match="1 of 1 images are bad"):
        data.read_csv(write_csv(tmp_path / "a.csv", ROW[:3]), on_bad="drop")


@pytest.mark.parametrize(
    "content", [",".join(ROW).encode(), b"", gzip.compress(HEADER.encode()), b"pixel0,label"]
)
def test_csv_without_the_header(content, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(BadInputError, match="instead of the header label,pixel1,…,pixel784"):
        data.read_csv(tmp_path / "a.csv")


def test_a_file_that_is_no_csv(tmp_path):
    (tmp_path / "a.csv").write_bytes(bytes(200_000))
    with pytest.raises(BadInputError, match="is not a CSV file"):
        data.read_csv(tmp_path / "a.csv")


def test_an_unknown_way_with_bad_rows(tmp_path):
    with pytest.raises(BadInputError, match="Unknown on_bad 'ignore': choose one of raise, drop"):
        data.read_csv(write_csv(tmp_path / "a.csv", ROW), on_bad="ignore")


# --- Folders of PNGs -----------------------------------------------------------------------------


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty drawings, filed under the names of their classes."""
    for i, (image, label) in enumerate(zip(*data.sketches(20, seed=1), strict=True)):
        save(tmp_path / "set" / CLASS_NAMES[label].replace("/", "_") / f"{i}.png", image)
    return tmp_path / "set"


def test_folder_round_trip(folder):
    drawn = data.sketches(20, seed=1)
    read = data.read_folder(folder)
    assert np.bincount(read.labels).tolist() == [2] * 10
    names = [CLASS_NAMES[label].replace("/", "_") for label in read.labels]
    assert names == sorted(names)
    for label in range(10):
        wanted = {image.tobytes() for image in drawn.images[drawn.labels == label]}
        assert {image.tobytes() for image in read.images[read.labels == label]} == wanted
    assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(read.images, data.read_folder(folder).images)


def test_folders_named_by_number_grey_rgb_and_hidden_files(tmp_path):
    grey = data.sketches(1, seed=2).images[0]
    save(tmp_path / "7" / "rgb.png", np.stack([grey] * 3, axis=-1))
    (tmp_path / "7" / ".DS_Store").touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "README.txt").touch()
    read = data.read_folder(tmp_path)
    assert read.labels.tolist() == [7]
    np.testing.assert_array_equal(read.images[0], grey)


BLANK = np.zeros((28, 28), np.uint8)
BAD_PNGS = {
    "size": (np.zeros((32, 30), np.uint8), "Coat/x.png is 30x32 pixels instead of 28x28"),
    "colour": (np.eye(28, dtype=np.uint8)[..., None] * [[[9, 0, 0]]], "Coat/x.png has mode RGB"),
    "alpha": (np.zeros((28, 28, 4), np.uint8), "Coat/x.png has mode RGBA instead of"),
    "deep": (BLANK.astype(np.uint16), "Coat/x.png has mode I;16 instead of"),
}


@pytest.mark.parametrize("case", BAD_PNGS)
def test_a_png_of_another_kind_is_named_or_dropped(case, folder):
    pixels, message = BAD_PNGS[case]
    save(folder / "Coat/x.png", pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint8))
    with pytest.raises(BadInputError, match=f"1 of 21 images .*{message}.*on_bad='drop'"):
        data.read_folder(folder)
    with pytest.warns(UserWarning, match="1 of 21 images are bad"):
        assert len(data.read_folder(folder, on_bad="drop").labels) == 20


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "folder"])
def test_a_corrupt_png_is_named(damage, folder):
    path = folder / "Coat/x.png"
    save(path, data.sketches(1, seed=0).images[0])
    good = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = good[:50] + bytes([good[50] ^ 255]) + good[51:]
        bad = {"cut": good[: len(good) // 2], "flipped": flipped, "text": b"text", "empty": b""}
        path.write_bytes(bad[damage])
    with pytest.raises(BadInputError, match=r"1 of 21 .*Coat/x.png is not a readable PNG"):
        data.read_folder(folder)


def test_folders_that_hold_no_data_set(folder, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(BadInputError, match=r"bare has no sub-folders: .*'T-shirt_top'"):
        data.read_folder(tmp_path / "bare")
    (folder / "Hat").mkdir()
    with pytest.raises(
        BadInputError, match=r"Unknown class folder '.*Hat': .*T-shirt_top, Trouser"
    ):
        data.read_folder(folder)
    (folder / "Hat").rename(folder / "4")
    with pytest.raises(BadInputError, match="4 is empty: put PNGs into it"):
        data.read_folder(folder)


# --- Sketches ------------------------------------------------------------------------------------


def test_sketches_look_like_the_published_images():
    drawn = data.sketches(205, seed=3)
    assert drawn.images.shape == (205, 28, 28)
    assert (drawn.images.dtype, drawn.labels.dtype) == (np.uint8, np.int64)
    assert np.bincount(drawn.labels).tolist() == [21] * 5 + [20] * 5
    assert not drawn.images[:, :, 0].any(axis=0)[:2].any()  # corners are background
    assert drawn.images.reshape(205, -1).max(axis=1).min() > 60
    assert len({image.tobytes() for image in drawn.images}) == 205


def test_sketches_are_seeded_and_shuffled():
    first, again, other = data.sketches(50, 1), data.sketches(50, 1), data.sketches(50, 2)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)
    assert first.labels.tolist() != sorted(first.labels)


def test_sketches_can_be_told_apart():
    train, test = data.sketches(500, seed=0), data.sketches(200, seed=1)
    model = KNeighborsClassifier(1).fit(train.images.reshape(500, -1) / 255, train.labels)
    assert model.score(test.images.reshape(200, -1) / 255, test.labels) > 0.9


def test_no_sketches():
    with pytest.raises(BadInputError, match="Cannot draw 0 sketches: ask for at least 1"):
        data.sketches(0, seed=0)


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
def test_training_data_is_balanced_and_its_validation_images_stay():
    loaded = data.load_training()
    assert np.bincount(loaded.train.labels).tolist() == [5_500] * 10
    assert np.bincount(loaded.validation.labels).tolist() == [500] * 10
    few = data.load_training(train_size=1_000)
    assert np.bincount(few.train.labels).tolist() == [100] * 10
    np.testing.assert_array_equal(few.validation.images, loaded.validation.images)
    everything = data.load_training(train_size=60_000)
    assert (len(everything.train.labels), len(everything.validation.labels)) == (60_000, 0)


@pytest.mark.real_data
def test_files_of_another_data_set_are_named(tmp_path, monkeypatch):
    found = data.status("mnist")[0].path
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / found.name).symlink_to(found)
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert "holds MNIST's train images instead of Fashion" in data.status("fashion_mnist")[0].state


def test_the_module_imports_neither_keras_nor_scikit_learn():
    code = (
        "import sys, fmnist_utils.data; print({'keras', 'tensorflow', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
