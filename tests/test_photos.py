import hashlib
from collections import Counter

import pytest

from fmnist_utils import photos
from fmnist_utils.errors import BadInputError, FailureError


def test_a_third_is_for_tuning_of_every_folder():
    counts = Counter((row["path"].split("/")[0], row["part"]) for row in photos._listed())
    assert sum(counts.values()) == 341
    assert {folder for folder, _ in counts} == set(photos.RIGHT_ANSWERS)
    for folder in photos.RIGHT_ANSWERS:
        of_folder = {part: n for (name, part), n in counts.items() if name == folder}
        assert of_folder["tuning"] == sum(of_folder.values()) // 3
        assert of_folder["measuring"] >= 2 * of_folder["tuning"]


def test_photos_of_the_ten_classes_are_290():
    folders = [row["path"].split("/")[0] for row in photos._listed()]
    assert sum(bool(photos.RIGHT_ANSWERS[folder]) for folder in folders) == 290


@pytest.fixture
def two(tmp_path, monkeypatch):
    rows = [
        {"path": f"hat/{i}.jpg", "sha256": hashlib.sha256(bytes([i])).hexdigest(), "part": "tuning"}
        for i in range(2)
    ]
    monkeypatch.setattr(photos, "_listed", lambda: rows)
    monkeypatch.setenv("FMNIST_PHOTOS_DIR", str(tmp_path))
    (tmp_path / "hat").mkdir()
    for i in range(2):
        (tmp_path / "hat" / f"{i}.jpg").write_bytes(bytes([i]))
    return tmp_path


def test_they_are_found_and_verified(two):
    found = photos.load("tuning")
    assert [(photo.folder, photo.path.name) for photo in found] == [
        ("hat", "0.jpg"),
        ("hat", "1.jpg"),
    ]
    assert photos.load("measuring") == []
    (two / "hat" / "1.jpg").write_bytes(b"another")
    with pytest.raises(FailureError, match=r"1\.jpg is not the published photo"):
        photos.load("tuning")


def test_without_photos_and_network_it_says_what_to_do(two, monkeypatch):
    (two / "hat" / "0.jpg").unlink()
    monkeypatch.setattr(photos, "_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(FailureError, match=r"1 photos are not in .* set FMNIST_PHOTOS_DIR"):
        photos.load("tuning")
    with pytest.raises(BadInputError, match=r"'test': choose one of tuning, measuring"):
        photos.load("test")
