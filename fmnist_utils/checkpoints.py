"""The state of a training between two epochs, kept in a file, so that it can go on from there."""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_utils.errors import FailureError

_PATTERN = "epoch-*.weights.h5"


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

    Notes
    -----
    Keras's BackupAndRestore writes weights and epoch into two files, in place: a process killed
    between or during the two leaves a state that cannot be loaded, or one that repeats an epoch.
    Here everything is in one file, and a rename cannot be interrupted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    older = list(folder.glob(_PATTERN))
    # Not by files.atomic_write: Keras demands this ending.
    unfinished = folder / "unfinished.weights.h5"
    model.save_weights(unfinished)
    with h5py.File(unfinished, "a") as file:
        file["difficulty"] = state.difficulty
        for number, variable in enumerate(_random_states(model)):
            file[f"random_state/{number}"] = variable.numpy()
        file["history"] = pd.DataFrame(state.rows).to_json(orient="records", double_precision=15)
    unfinished.replace(folder / f"epoch-{len(state.rows):04d}.weights.h5")
    for path in older:
        path.unlink()


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
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        try:
            with h5py.File(path) as file:
                difficulty, rows = file["difficulty"][:], json.loads(file["history"][()])
                states = [file[f"random_state/{n}"][:] for n in range(len(_random_states(model)))]
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "Skipping variable loading", UserWarning)
                model.load_weights(path)
        except (OSError, KeyError, ValueError, UserWarning) as error:
            if isinstance(error, OSError) and error.errno:  # the system's, not the content's
                raise FailureError(f"Cannot read {path} ({error}): try again.") from error
            print(f"Saved state {path.name} is damaged ({error}) and passed over.")
            continue
        for variable, value in zip(_random_states(model), states, strict=True):
            variable.assign(value)
        state.difficulty, state.rows = difficulty, rows
        return


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """Return where the dropout layers' random numbers stand, which are no weights to Keras."""
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]
