import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_utils import data
from fmnist_utils.cli import main, predict_files
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos import prepare

SKETCHES = data.sketches(3, seed=2).images


@pytest.fixture
def folder(tmp_path):
    """Three photos, one of them in a folder below, beside what is none."""
    (tmp_path / "below").mkdir()
    for name, pixels in zip(("b.png", "a.PNG", "below/c.png"), SKETCHES, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path


def fmnist(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fmnist", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
    return end.value.code


def test_a_folder_is_answered_file_by_file(folder, capsys):
    assert fmnist("predict", folder, "--json", "--top", 2) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [Path(line["file"]).name for line in lines] == ["a.PNG", "b.png", "c.png"]
    for line in lines:
        assert len(line["top"]) == 2
        assert line["answer"] in (line["top"][0]["class"], "none of the ten")


def test_csv_and_table_say_the_same(folder, capsys):
    assert fmnist("predict", folder, "--csv", "--top", 2) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert fmnist("predict", folder) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(rows) == len(table) == 3
    for row, line in zip(rows, table, strict=True):
        assert line.startswith(row["answer"])
        assert row["file"] in line
        assert f"{row['class_1']} {float(row['probability_1']):.0%}" in line


def test_a_damaged_file_is_reported_and_the_rest_is_done(folder, capsys):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    assert fmnist("predict", folder) == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "b.png is damaged" in captured.err
    assert fmnist("predict", folder / "b.png", "--json") == 2
    (line,) = json.loads(capsys.readouterr().out)
    assert "damaged" in line["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "There is no file or folder nowhere.jpg: check the path."),
        (["{folder}/empty"], "holds no photo: need files that end in ."),
        (["{folder}", "--top", "11"], "between 1 and 10; received 11"),
        (["{folder}", "--csv", "--json"], "Choose one of --json and --csv."),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, arguments, message):
    (folder / "empty").mkdir()
    assert fmnist("predict", *(a.format(folder=folder) for a in arguments)) == 2
    assert message in capsys.readouterr().err


def test_an_explanation_is_drawn_beside_the_photo(folder):
    assert fmnist("predict", folder / "b.png", "--explain") == 0
    with Image.open(folder / "b.png.explained.png") as drawn:
        assert drawn.width > 500


def test_found_files_are_sorted_and_explanations_are_not_found_again(folder):
    with pytest.raises(BadInputError):
        prepare.find([folder / "nothing"])
    fmnist("predict", folder / "b.png", "--explain")
    (folder / "._a.jpg").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    (folder / "a.PNG.grad_cam.png").touch()
    photos, others = prepare.find([folder])
    assert [path.name for path in photos] == ["a.PNG", "b.png", "c.png"]
    assert not others


def test_photos_by_every_ending_are_read_and_others_counted(folder, capsys):
    with Image.open(folder / "b.png") as image:
        photo = image.convert("RGB")
    kinds = {"jfif": "JPEG", "JPE": "JPEG", "bmp": "BMP", "tif": "TIFF", "Jpg": "JPEG"}
    for ending, kind in kinds.items():
        photo.save(folder / f"more.{ending}", kind)
    for name in ("d.svg", "e.psd", "notes.txt"):
        (folder / name).touch()
    assert fmnist("predict", folder) == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3 + len(kinds)
    assert "2 other images left out (d.svg, e.psd): need JPEG, PNG" in captured.err


def test_photos_of_one_name_have_a_drawing_each(folder):
    with Image.open(folder / "b.png") as image:
        image.convert("RGB").save(folder / "b.jpg")
    assert fmnist("predict", folder / "b.png", folder / "b.jpg", "--explain") == 0
    assert len(list(folder.glob("b.*.explained.png"))) == 2


ODD = {"red\x1b[31m.png": r"red\x1b[31m.png", "two\nlines.png": r"two\nlines.png"}


@pytest.mark.parametrize("name", ODD)
def test_a_name_neither_steers_the_terminal_nor_makes_a_line(name, folder, capsys, monkeypatch):
    (folder / "b.png").rename(folder / name)
    monkeypatch.chdir(folder)
    assert fmnist("predict", name) == 0
    assert fmnist("predict", name, "--csv") == 0
    (folder / name).write_bytes(b"no image")
    assert fmnist("predict", name) == 2
    assert fmnist("predict", f"no {name}") == 2
    (folder / name).rename(folder / f"{name}.svg")
    assert fmnist("predict", folder) == 3
    shown, told = capsys.readouterr()
    for lines, times in ((shown, 2), (told, 3)):
        assert all(line.isprintable() for line in lines.splitlines())
        assert lines.count(ODD[name]) == times
    assert len(shown.splitlines()) == 5


def test_a_name_whose_bytes_are_no_text(folder, capfd):
    (folder / "b.png").rename(folder / os.fsdecode(b"b\xff.png"))
    assert fmnist("predict", folder / os.fsdecode(b"b\xff.png")) == 0
    assert r"b\udcff.png" in capfd.readouterr().out


@pytest.mark.parametrize("sign", "=+-@\t\r")
def test_no_cell_is_a_formula(sign, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "b.png").rename(f"{sign}1.png")
    (folder / "a.PNG").write_bytes(b"no image")
    assert fmnist("predict", "--csv", "--", f"{sign}1.png") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["file"].startswith("'")
    assert row["file"].endswith("1.png")


def test_a_name_with_dollars_is_drawn(folder):
    (folder / "b.png").rename(folder / "$x^$.png")
    assert fmnist("predict", folder / "$x^$.png", "--explain") == 0
    assert (folder / "$x^$.png.explained.png").exists()


def test_a_locale_that_lacks_a_letter(folder, monkeypatch):
    (folder / "b.png").rename(folder / "é.png")
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", written)
    assert fmnist("predict", folder / "é.png") == 0
    written.flush()
    assert rb"\xe9.png" in written.buffer.getvalue()


def test_what_is_no_file_or_far_too_large_is_one_sentence(folder, capsys):
    os.mkfifo(folder / "pipe.png")
    (folder / "sparse.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    os.truncate(folder / "sparse.jpg", 6 * 2**30)
    for source, message in {
        folder / "pipe.png": "pipe or a device",
        "/dev/zero": "pipe or a device",
        folder / "sparse.jpg": "has 6,442,450,944 bytes: at most 416,777,216",
        5_000 * "a": "There is no file or folder a",
        "": "The path is empty: name a file or a folder, . for this one",
    }.items():
        assert fmnist("predict", source) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_the_same_photo_gives_the_same_answer_whatever_its_size(folder):
    pixels = np.full((300, 200, 3), 235, np.uint8)
    pixels[60:240, 60:140] = 50
    for scale in (1, 3):
        wide = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        Image.fromarray(wide).save(folder / f"{scale}.png")
    files = [folder / "1.png", folder / "3.png"]
    lines = []
    predict_files.answer(files, top=1, write=lambda given, _: lines.extend(given), explain=False)
    assert lines[0].top[0]["class"] == lines[1].top[0]["class"]
