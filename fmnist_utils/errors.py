"""The two kinds of expected failure; anything else is a bug and keeps its traceback."""

import importlib.metadata
import re
from collections.abc import Iterable


class BadInputError(ValueError):
    """The caller gave something that cannot be used; the command exits with 2."""


class FailureError(RuntimeError):
    """The input was fine, but the work could not be done; the command exits with 1."""


def unknown(what: str, value: object, valid: Iterable[object]) -> BadInputError:
    """Return the error for a name that is not among the valid ones.

    Parameters
    ----------
    what : str
        What the name stands for, such as ``"recipe"``.
    value : object
        The name received.
    valid : iterable of object
        The names to choose from.
    """
    return BadInputError(
        f"Unknown {what} {value!r}: choose one of {', '.join(str(name) for name in valid)}."
    )


# Libraries whose distributions have other names.
_DISTRIBUTIONS = {"faiss": "faiss-cpu", "sklearn": "scikit-learn"}


def not_installed(error: ModuleNotFoundError) -> FailureError | None:
    """Return the error for a library that one of the package's extras brings, or None.

    Parameters
    ----------
    error : ModuleNotFoundError
        Raised where the library was imported.
    """
    library = (error.name or "").partition(".")[0]
    wanted = re.escape(_DISTRIBUTIONS.get(library, library).replace("_", "-"))
    for requirement in importlib.metadata.requires("fmnist_utils") or []:
        found = re.match(rf"{wanted}\b(?!-).*extra == ['\"](\w+)['\"]", requirement, re.IGNORECASE)
        if found:
            return FailureError(
                f"This needs {library}, which is not installed: "
                f"pip install 'fmnist_utils[{found[1]}]'."
            )
    return None
