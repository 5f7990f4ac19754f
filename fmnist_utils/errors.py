"""The two kinds of expected failure; anything else is a bug and keeps its traceback."""

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

    Examples
    --------
    >>> print(unknown("split", "train", ["test", "validation"]))
    Unknown split 'train': choose one of test, validation.
    """
    return BadInputError(
        f"Unknown {what} {value!r}: choose one of {', '.join(str(name) for name in valid)}."
    )


def not_installed(library: str, extra: str) -> FailureError:
    """Return the error for a library that is missing; it names the command to install it.

    Parameters
    ----------
    library : str
        As it is imported, such as ``"tensorflow"``.
    extra : str
        The extra of ``pyproject.toml`` that brings it, such as ``"course"``.

    Examples
    --------
    >>> print(not_installed("tensorflow", "course"))
    This needs tensorflow, which is not installed: pip install "fmnist_utils[course]"
    """
    return FailureError(
        f'This needs {library}, which is not installed: pip install "fmnist_utils[{extra}]"'
    )
