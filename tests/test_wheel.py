"""The wheel that is built from the project works by itself."""

import importlib.metadata
import resource
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from fmnist_utils.classes import CLASS_NAMES

ROOT = Path(__file__).parents[1]
COMMAND = """
import socket, sys
sys.path += sys.argv[1:3]
del sys.argv[1:3]
def refuse(*_): raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
from fmnist_utils.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def _with_all_they_require(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that pip would install for requirements."""
    found, asked = set(), [Requirement(text) for text in requirements]
    while asked:
        requirement = asked.pop()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in found:
            found.add(requirement.name)
            asked += map(Requirement, importlib.metadata.requires(requirement.name) or [])
    return found


@pytest.fixture(scope="module")
def fmnist(wheel, tmp_path_factory):
    """The command in an environment that has the wheel and what it requires without extras."""
    unpacked, libraries = (tmp_path_factory.mktemp(name) for name in ("unpacked", "libraries"))
    zipfile.ZipFile(wheel).extractall(unpacked)
    (installed,) = importlib.metadata.distributions(name="fmnist_utils", path=[str(unpacked)])
    installed_in = Path(sysconfig.get_path("purelib"))
    for name in _with_all_they_require(installed.requires):
        for file in importlib.metadata.files(name):
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (libraries / top).exists():
                (libraries / top).symlink_to(installed_in / top)

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", COMMAND, unpacked, libraries, *arguments],
            check=False,
            cwd=folder,
            env={"PATH": "", "HOME": str(folder)},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def folder(tmp_path):
    """A folder with a photo, and an image of the data set's size."""
    photo = np.full((300, 200, 3), 235, np.uint8)
    photo[60:240, 60:140] = 50
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(photo[50:78, 50:78, 0]).save(tmp_path / "image.png")
    return tmp_path


def test_it_is_small_and_brings_what_the_package_reads(wheel):
    assert wheel.stat().st_size < 12_000_000  # half of it is what published networks answer
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "photos/model/model.onnx",
        "photos/model/images.onnx",
        "photos/imagenet/efficientnet_lite0.onnx",
        "photos/imagenet/LICENSE",
        "photos/model/card.json",
        "service/page.html",
        "photos/photos.csv",
        "results.json",
    ):
        assert f"fmnist_utils/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "notebooks/", "runs/"))]


def test_it_answers_a_photo_without_extras_network_or_data(fmnist, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = fmnist("predict", "photo.png", folder=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    (answer,) = done.stdout.splitlines()
    assert any(name in answer for name in (*CLASS_NAMES, "none of the ten"))
    # Time of the processor, which other work beside the test does not change.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("run 1", "series"),
        ("train cnn", "course"),
        ("evaluate cnn", "course"),
        ("results", "course"),
        ("data --download", "course"),
        ("explain image.png", "course"),
        ("predict photo.png --explain", "course"),
        ("similar photo.png", "course"),
        ("serve", "serve"),
        ("export cnn", "export"),
        ("package", "export"),
        ("stamp", "series"),
    ],
)
def test_a_command_that_needs_an_extra_names_it(fmnist, folder, command, extra):
    done = fmnist(*command.split(), folder=folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith(f'which is not installed: pip install "fmnist_utils[{extra}]"\n')
