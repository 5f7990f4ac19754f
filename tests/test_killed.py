"""A training that is killed again and again: `FMNIST_KILLS=100 pytest -m slow` takes its time."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fmnist_utils import store

KILLS = int(os.environ.get("FMNIST_KILLS", "3"))
SCRIPT = """
from fmnist_utils import store
from fmnist_utils.recipes import Recipe
store.get_or_train(Recipe(model="cnn", options={"filters": [[4]], "units": [8],
    "dense_dropout": 0.5}, optimizer="adam", schedule="cosine", epochs=40, dataset="sketches",
    train_size=500, batch_size=32, augmentation={"shift": 2}, precision="float32",
    deterministic=True))
"""


def _start(runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT],
        env={**os.environ, "FMNIST_RUNS_DIR": str(runs)},
        stdout=subprocess.PIPE,
        text=True,
    )


def _weights(runs: Path) -> list[NDArray[np.float32]] | None:
    """Return what was trained, if it is whole."""
    finished = list(runs.glob("cnn-*"))
    return store.Run(finished[0]).model.get_weights() if finished else None


@pytest.mark.slow
def test_killed_at_any_moment_a_training_comes_to_the_same_bits(tmp_path: Path) -> None:
    _start(tmp_path / "whole").communicate()
    expected = _weights(tmp_path / "whole")
    assert expected is not None
    runs, killed = tmp_path / "runs", 0
    while killed < KILLS:
        process = _start(runs)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0, 3))
        process.kill()
        process.communicate()
        killed += process.returncode < 0
        if (trained := _weights(runs)) is not None:
            np.testing.assert_equal(trained, expected)
            shutil.rmtree(runs)
    _start(runs).communicate()
    np.testing.assert_equal(_weights(runs), expected)
