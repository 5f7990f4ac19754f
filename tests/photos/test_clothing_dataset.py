import hashlib
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.photos import clothing_dataset


def test_a_third_is_for_tuning_of_every_folder():
    counts = Counter((row["path"].split("/")[0], row["part"]) for row in clothing_dataset._listed())
    assert sum(counts.values()) == 341
    assert {folder for folder, _ in counts} == set(clothing_dataset.RIGHT_ANSWERS)
    for folder in clothing_dataset.RIGHT_ANSWERS:
        of_folder = {part: n for (name, part), n in counts.items() if name == folder}
        assert of_folder["tuning"] == sum(of_folder.values()) // 3
        assert of_folder["measuring"] >= 2 * of_folder["tuning"]


def test_photos_of_the_ten_classes_are_290():
    folders = [row["path"].split("/")[0] for row in clothing_dataset._listed()]
    assert sum(bool(clothing_dataset.RIGHT_ANSWERS[folder]) for folder in folders) == 290


@pytest.fixture
def two(tmp_path, monkeypatch):
    rows = [
        {
            "path": f"hat/{i}.jpg",
            "sha256": hashlib.sha256(bytes([i])).hexdigest(),
            "part": "tuning",
            "first_pass": "none",
            "second_pass": "Bag;none",
        }
        for i in range(2)
    ]
    monkeypatch.setattr(clothing_dataset, "_listed", lambda: rows)
    monkeypatch.setenv("FMNIST_PHOTOS_DIR", str(tmp_path))
    (tmp_path / "hat").mkdir()
    for i in range(2):
        (tmp_path / "hat" / f"{i}.jpg").write_bytes(bytes([i]))
    return tmp_path


def test_they_are_found_and_verified(two):
    found = clothing_dataset.load("tuning")
    assert [(photo.folder, photo.path.name) for photo in found] == [
        ("hat", "0.jpg"),
        ("hat", "1.jpg"),
    ]
    assert {photo.judged for photo in found} == {frozenset({CLASS_NAMES.index("Bag")})}
    assert clothing_dataset.load("measuring") == []
    (two / "hat" / "1.jpg").write_bytes(b"another")
    with pytest.raises(FailureError, match=r"1\.jpg is not the published photo"):
        clothing_dataset.load("tuning")


def test_without_photos_and_network_it_says_what_to_do(two, monkeypatch):
    (two / "hat" / "0.jpg").unlink()
    monkeypatch.setattr(clothing_dataset, "_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(FailureError, match=r"1 photos are not in .* set FMNIST_PHOTOS_DIR"):
        clothing_dataset.load("tuning")
    with pytest.raises(BadInputError, match=r"'test': choose one of tuning, measuring"):
        clothing_dataset.load("test")


def test_the_two_judgements_of_a_photo_agree():
    rows = clothing_dataset._listed()
    judged = [(row["first_pass"].split(";"), row["second_pass"].split(";")) for row in rows]
    for answers in (answers for both in judged for answers in both):
        assert set(answers) <= {*CLASS_NAMES, "none"}
        assert 1 <= len(set(answers)) == len(answers) <= 2
    for k in range(2):
        assert sum(len(both[k]) == 2 for both in judged) <= len(rows) / 10
    assert all(set(first) & set(second) for first, second in judged)
    assert sum(first[0] == second[0] for first, second in judged) > 0.95 * len(rows)


@pytest.mark.parametrize("sent", [bytes([0]), b"another", bytes(3_000_000)])
def test_a_download_is_verified_and_bounded_before_it_is_kept(two, monkeypatch, sent):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # too much is not taken
                self.wfile.write(sent)

        def log_message(self, *args):
            pass

    photo = two / "hat" / "0.jpg"
    photo.unlink()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(clothing_dataset, "_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        if sent == bytes([0]):
            clothing_dataset.load("tuning")
            assert photo.read_bytes() == sent
        else:
            with pytest.raises(FailureError, match=r"not the published photo|more than 2,000,000"):
                clothing_dataset.load("tuning")
            assert [file.name for file in photo.parent.iterdir()] == ["1.jpg"]
        server.shutdown()
