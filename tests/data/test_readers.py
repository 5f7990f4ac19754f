"""Other people's files: round trips, and every kind of damage named."""

import gzip
import os
import resource
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fmnist_utils import data
from fmnist_utils.arrays import border
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.data import readers
from fmnist_utils.errors import BadInputError

IN_TMP = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- IDX -----------------------------------------------------------------------------------------

byte_arrays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0))


@IN_TMP
@given(byte_arrays, st.booleans(), st.sampled_from(["a", "a.gz"]))
def test_idx_round_trip(idx, tmp_path, array, zipped, name):
    content = idx(array)
    (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    read = data.read_idx(tmp_path / name)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8
    assert read.flags.writeable


WHOLE = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]) + bytes(range(60))
BAD_IDX = {
    "truncated gzip": (gzip.compress(WHOLE)[:-12], "damaged gzip"),
    "corrupt gzip": (gzip.compress(WHOLE)[:40] + b"\xff" * 30, "damaged gzip"),
    "truncated payload": (WHOLE[:-7], r"has 53 bytes .* the 60 of shape \(3, 4, 5\): it is cut"),
    "trailing bytes": (WHOLE + b"x", "is followed by other data, behind the 60 of shape"),
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


def test_an_idx_file_without_an_image(idx, tmp_path):
    (tmp_path / "a").write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    assert data.read_idx(tmp_path / "a").shape == (0, 28, 28)


@pytest.mark.parametrize("read", [data.read_idx, data.read_csv, data.read_folder])
def test_a_path_that_leads_nowhere(read, tmp_path):
    with pytest.raises(BadInputError, match=r"none cannot be read \(No such file .*check the path"):
        read(tmp_path / "none")


# --- What does not end ----------------------------------------------------------------------------


@contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """Let the process take that much more address space, whatever it does with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = now * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def zeros(packed: Callable[..., IO[bytes]], path: Path, head: bytes, unpacked: int) -> Path:
    """Write a file that unpacks to a head and zeros."""
    with packed(path, "wb") as file:
        file.write(head)
        for _ in range(unpacked // 2**20):
            file.write(bytes(2**20))
    return path


ONE_IMAGE = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
TOO_MANY = bytes([0, 0, 8, 3, 0, 255, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28])


@pytest.mark.parametrize(
    ("head", "message"), [(ONE_IMAGE, "followed by other data"), (TOO_MANY, "1,000,000,000 bytes")]
)
def test_a_gzip_that_unpacks_to_far_more_is_refused_unread(head, message, tmp_path):
    path = zeros(partial(gzip.open, compresslevel=1), tmp_path / "a.gz", head, 2**27)
    with at_most(2**26), pytest.raises(BadInputError, match=message):
        data.read_idx(path)


def test_a_sparse_giant_is_refused_unread(tmp_path):
    (tmp_path / "a").write_bytes(ONE_IMAGE)
    os.truncate(tmp_path / "a", 6 * 2**30)
    with at_most(2**26), pytest.raises(BadInputError, match="followed by other data"):
        data.read_idx(tmp_path / "a")


def test_an_npz_that_unpacks_to_far_more_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_MOST_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", np.zeros(2**21, np.uint8))
    with pytest.raises(BadInputError, match=r"a.npz holds more than 1,048,576 bytes"):
        data.read_numpy(tmp_path / "a.npz")


def test_an_npy_that_claims_far_more_is_damaged(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3, np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(3,), }          ", b"(999999999999,), }"))
    with at_most(2**26), pytest.raises(BadInputError, match=r"a.npy is damaged"):
        data.read_numpy(tmp_path / "a.npy")


@pytest.mark.parametrize("end", ["," * 2**22, "1\n" * 3_000, '"' + "\n" * 2**18])
def test_a_csv_of_one_long_line_or_of_short_ones_is_given_up(end, tmp_path):
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{end}", encoding="utf-8")
    with at_most(2**26), pytest.raises(BadInputError, match=r"images are bad|is not a CSV"):
        data.read_csv(tmp_path / "a.csv", on_bad="drop")


def test_a_csv_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_MOST_BYTES", 20_000)
    with pytest.raises(BadInputError, match=r"a.csv holds more than 20,000 characters"):
        data.read_csv(write_csv(tmp_path / "a.csv", *[ROW] * 20))


@pytest.mark.parametrize("read", [data.read_idx, data.read_csv, data.read_numpy, data.file_kind])
def test_a_pipe_or_a_device_is_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadInputError, match=f"{path} cannot be read .*pipe or a device"):
            read(path)


# --- CSV -----------------------------------------------------------------------------------------

HEADER = "label," + ",".join(f"pixel{i}" for i in range(1, 785))
ROW = ["3"] + ["7"] * 784


def write_csv(path: Path, *rows: list[str]) -> Path:
    lines = [HEADER, *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
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
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    bright = np.array([image.mean() > 127 for image in border(table[:, 1:].reshape(-1, 28, 28))])
    with pytest.warns(UserWarning, match="dark on white") if bright.any() else nullcontext():
        read = data.read_csv(tmp_path / "a.csv")
    pixels = np.where(bright[:, None], 255 - table[:, 1:], table[:, 1:])
    np.testing.assert_array_equal(read.images.reshape(-1, 784), pixels)
    np.testing.assert_array_equal(read.labels, table[:, 0])
    assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int64)


BAD_ROWS = {
    "missing": (changed(5, ""), "column pixel5 is missing instead of a whole number, 0 to 255"),
    "text": (changed(5, "dark"), "row 3, column pixel5 is 'dark' instead of"),
    "fraction": (changed(784, "0.5"), "row 3, column pixel784 is '0.5' instead of"),
    "negative": (changed(1, "-1"), "row 3, column pixel1 is '-1' instead of"),
    "bright": (changed(1, "256"), "row 3, column pixel1 is '256' instead of"),
    "label": (
        changed(0, "10"),
        "row 3, column label is '10' instead of a whole number, 0 to 9",
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


def columns(kind: str) -> list[str]:
    pixels = range(784)
    names = {
        "1x1": [f"{1 + i // 28}x{1 + i % 28}" for i in pixels],
        "pixel0": [f"pixel{i}" for i in pixels],
    }
    return ["label", *names.get(kind, HEADER.split(",")[1:])]


@pytest.mark.parametrize("kind", ["floats", "1x1", "pixel0", "gzip", "txt.gz, floats, pixel0"])
def test_other_spellings_of_the_same_csv(kind, tmp_path):
    images, labels = data.sketches(12, seed=0)
    table = pd.DataFrame(np.column_stack([labels, images.reshape(12, -1)]))
    header = next((columns(name) for name in ("1x1", "pixel0") if name in kind), columns(""))
    path = tmp_path / ("a.txt.gz" if "gz" in kind else "a.csv")
    written = table.astype(float if "floats" in kind else int)
    written.to_csv(path, header=header, index=False)
    assert data.file_kind(path) == "csv"
    read = data.read_csv(path)
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, labels)


def test_pixels_from_0_to_1_are_told_the_factor(tmp_path):
    scaled = np.column_stack([[3, 4], np.linspace(0, 1, 2 * 784).reshape(2, -1)])
    pd.DataFrame(scaled).to_csv(tmp_path / "a.csv", header=columns(""), index=False)
    with pytest.raises(BadInputError, match=r"2 of 2 images .*multiplied by 255") as found:
        data.read_csv(tmp_path / "a.csv")
    assert "on_bad" not in str(found.value)  # nothing would be left


OTHERS = {
    "a.png": (b"\x89PNG" + bytes(99), "is a PNG"),
    "a.parquet": (b"PAR1" + bytes(99) + b"PAR1", "is a Parquet file"),
    "a.txt": (b"no table", "is neither an IDX nor a CSV file"),
    "a.csv.gz": (gzip.compress(b"\x89PNG" + bytes(99)), "is a PNG"),
    "cut.gz": (gzip.compress(bytes(range(256)) * 9)[:40], "damaged gzip"),
    "empty": (b"", "is neither"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_kind_of_file_is_named(name, tmp_path):
    content, message = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        data.file_kind(tmp_path / name)


def test_arrays_of_numpy(tmp_path):
    images, labels = data.sketches(3, seed=0)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels)
    np.save(tmp_path / "a.npy", images)
    assert data.file_kind(tmp_path / "a.npz") == data.file_kind(tmp_path / "a.npy") == "numpy"
    read = data.read_numpy(tmp_path / "a.npz")
    np.testing.assert_array_equal(read["x_train"], images)
    np.testing.assert_array_equal(data.read_numpy(tmp_path / "a.npy")[""], images)
    np.savez(tmp_path / "a.npz", x=np.array([{}, None], dtype=object))
    with pytest.raises(BadInputError, match="save plain arrays"):
        data.read_numpy(tmp_path / "a.npz")
    for content in (b"PK\x03\x04" + bytes(99), b"\x93NUMPY" + bytes(99), b""):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(BadInputError, match="save plain arrays"):
            data.read_numpy(tmp_path / "a.npz")


def test_gzip_in_several_members(idx, tmp_path):
    content = idx(np.arange(60, dtype=np.uint8))
    (tmp_path / "a.gz").write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    assert data.read_idx(tmp_path / "a.gz").tolist() == list(range(60))
    assert data.file_kind(tmp_path / "a.gz") == "idx"


@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_images_dark_on_white_are_negated_and_counted(kind, tmp_path):
    images, labels = data.sketches(6, seed=0)
    stored = np.where(np.arange(6)[:, None, None] < 4, 255 - images, images)
    if kind == "csv":
        rows = np.column_stack([labels, stored.reshape(6, -1)])
        pd.DataFrame(rows).to_csv(tmp_path / "a.csv", header=columns(""), index=False)
    else:
        for i, (image, label) in enumerate(zip(stored, labels, strict=True)):
            (tmp_path / str(label)).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / str(label) / f"{i}.png")
    with pytest.warns(UserWarning, match="4 of 6 images are dark on white, and were negated"):
        read = data.read_csv(tmp_path / "a.csv") if kind == "csv" else data.read_folder(tmp_path)
    order = np.argsort(labels, kind="stable") if kind == "folder" else slice(None)
    np.testing.assert_array_equal(read.images, images[order])


def test_csv_without_a_good_row(tmp_path):
    with pytest.raises(BadInputError, match="holds no image: check the path"):
        data.read_csv(write_csv(tmp_path / "a.csv"))
    with pytest.raises(BadInputError, match="1 of 1 images are bad"):
        data.read_csv(write_csv(tmp_path / "a.csv", ROW[:3]), on_bad="drop")


@pytest.mark.parametrize(
    "content", [",".join(ROW).encode(), b"", gzip.compress(b"x", mtime=0), b"pixel0,label"]
)
def test_csv_without_the_header(content, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(BadInputError, match="instead of the header label,pixel1,…,pixel784"):
        data.read_csv(tmp_path / "a.csv")


def test_a_file_that_is_no_csv(tmp_path):
    (tmp_path / "a.csv").write_bytes(bytes(200_000))
    with pytest.raises(BadInputError, match=r"begins with .* instead of the header"):
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


def test_a_pipe_and_a_png_of_far_more_pixels_are_refused_undecoded(folder):
    os.mkfifo(folder / "Bag" / "pipe.png")
    save(folder / "Bag" / "giant.png", np.zeros((28, 28), np.uint8))
    content = (folder / "Bag" / "giant.png").read_bytes()
    head = b"IHDR" + 2 * (9_000).to_bytes(4) + content[24:29]
    check = zlib.crc32(head).to_bytes(4)
    (folder / "Bag" / "giant.png").write_bytes(content[:12] + head + check + content[33:])
    with (
        at_most(2**26),
        pytest.raises(BadInputError, match=r"giant.png is 9000x9000 .*pipe.png is"),
    ):
        data.read_folder(folder)
