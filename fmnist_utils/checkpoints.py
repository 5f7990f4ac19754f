"""The state of a training between two epochs, kept in a file, so that it can go on from there."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_utils.errors import FailureError
from fmnist_utils.files import atomic_write

PATTERN = "epoch-*"


@dataclass
class State:
    """What goes from one epoch to the next beside the weights.

    Parameters
    ----------
    difficulty : ndarray of shape (n,), float32
        Running average of each image's loss, infinite before it was first seen.
    rows : list of dict
        Of the history.
    """

    difficulty: NDArray[np.float32]
    rows: list[dict[str, Any]] = field(default_factory=list)


def save(folder: Path, model: keras.Model, state: State) -> None:
    """Write model, optimizer and state into one file, put under its name when complete.

    Parameters
    ----------
    folder : Path
        Of the training; older states in it are removed.
    model : keras.Model
        Compiled, after an epoch.
    state : State
        Of the same epoch.

    Raises
    ------
    FailureError
        If there is no room for it; the older state is then as it was.

    Notes
    -----
    Keras's BackupAndRestore writes weights and epoch into two files, in place: a process killed
    between or during the two leaves a state that cannot be loaded, or one that repeats an epoch.
    Here everything is in one file, and a rename cannot be interrupted. It is made in memory, as
    HDF5, which Keras saves weights in, crashes on a full disk; and each array has its checksum.
    """
    content = io.BytesIO()
    np.savez(
        content,
        *(variable.numpy() for variable in _variables(model)),
        difficulty=state.difficulty,
        history=pd.DataFrame(state.rows).to_json(orient="records", double_precision=15),
    )
    saved = folder / f"epoch-{len(state.rows):04d}.npz"
    with atomic_write(saved) as unfinished:
        unfinished.write_bytes(content.getvalue())
    for other in set(folder.iterdir()) - {saved}:  # older, or what a killed process left of one
        other.unlink()


def restore(folder: Path, model: keras.Model, state: State) -> None:
    """Load the newest whole state of a folder, if there is any, into model and state.

    Parameters
    ----------
    folder : Path
        Of the training.
    model : keras.Model
        Compiled, as `save` was given it.
    state : State
        Is changed.

    Raises
    ------
    FailureError
        If a state cannot be read at the moment; a damaged one is passed over, which is printed.
    """
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FailureError(f"Cannot read {path} ({error}): try again.") from error
        try:
            values, saved = _unpacked(content, variables)
        except Exception as error:  # NumPy raises whatever odd bytes lead it to
            print(f"Saved state {path.name} is damaged ({error}) and passed over.")
            continue
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        state.difficulty, state.rows = saved.difficulty, saved.rows
        return


def _unpacked(
    content: bytes, variables: list[keras.Variable]
) -> tuple[list[NDArray[np.generic]], State]:
    with np.load(io.BytesIO(content)) as stored:
        values = [stored[f"arr_{n}"] for n in range(len(variables))]
        state = State(stored["difficulty"], json.loads(str(stored["history"])))
    if [value.shape for value in values] != [variable.shape for variable in variables]:
        raise ValueError("it is of a model of other shapes")
    return values, state


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return all that changes from step to step: weights, random states, the optimizer's."""
    return [*model.variables, *model.optimizer.variables]
