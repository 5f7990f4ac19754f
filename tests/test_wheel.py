"""The wheel that is built from the project works by itself."""

import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_utils.classes import CLASS_NAMES

ROOT = Path(__file__).parents[1]
PREDICT = """
import socket, sys
sys.path.insert(0, sys.argv.pop(1))
def refuse(*_): raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
import fmnist_utils
from fmnist_utils.cli.main import main
try: main()
finally:
    heavy = {"tensorflow", "keras", "matplotlib", "pandas"}
    print(fmnist_utils.__file__, heavy & {*sys.modules})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_is_small_and_brings_what_the_package_reads(wheel):
    assert wheel.stat().st_size < 5_000_000
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "photos/model/model.onnx",
        "photos/model/card.json",
        "service/page.html",
        "photos/photos.csv",
        "results.json",
    ):
        assert f"fmnist_utils/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "notebooks/", "runs/"))]


def test_it_answers_a_photo_without_network_data_or_tensorflow(wheel, tmp_path):
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    photo = np.full((300, 200, 3), 235, np.uint8)
    photo[60:240, 60:140] = 50
    Image.fromarray(photo).save(tmp_path / "photo.png")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, unpacked, "predict", "photo.png"],
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer, last = done.stdout.splitlines()
    assert any(name in answer for name in (*CLASS_NAMES, "none of the ten"))
    assert last == f"{unpacked / 'fmnist_utils' / '__init__.py'} set()"
    # Time of the processor, which other work beside the test does not change.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 3
