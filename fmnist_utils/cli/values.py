"""What options and arguments take, for the command's help and completion."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from fmnist_utils.errors import BadInputError
from fmnist_utils.service.limits import Limits

# Written out, so that help and completion need not import what recipes need.
RECIPES = (
    "dense",
    "cnn",
    "cnn_deep",
    "regularised",
    "transfer",
    "fast",
    "small",
    "accurate",
    "short",
    "slim",
    "long",
    "photo",
)
_FIELDS = (
    "Fields of --set: model, options, epochs, batch_size, optimizer, learning_rate, schedule, "
    "weight_decay, layer_decay, label_smoothing, ema, selection, augmentation, synthetic_photos, "
    "mixup, precision, deterministic, seed, dataset, train_size."
)
RECIPES_AND_FIELDS = f"Recipes: {', '.join(RECIPES)}. {_FIELDS}"


def one_of(*values: str) -> dict[str, Any]:
    """Return what makes an option's or argument's values known to help and completion.

    Parameters
    ----------
    *values : str
        What it takes; the command checks it, in one sentence.
    """

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
        return [value for value in values if value.startswith(begun)]

    return {"metavar": "|".join(values), "shell_complete": complete}


_Command = TypeVar("_Command", bound=Callable[..., Any])


def limits(command: _Command) -> _Command:
    """Decorate a command with an option for each of the service's limits.

    Parameters
    ----------
    command : callable
        It is given the limits' values by their names.
    """
    for limit in reversed(fields(Limits)):
        kind = click.IntRange(min=1) if isinstance(limit.default, int) else float
        option = click.option(
            f"--max-{limit.name}", limit.name, default=limit.default, type=kind, **limit.metadata
        )
        command = option(command)
    return command


RECIPE = {**one_of(*RECIPES), "metavar": "NAME"}
PROFILE = one_of("smoke", "quick", "full")


class _FileOrFolder(click.Path):
    """A path, which is not empty: that would be the working folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value):
            raise BadInputError("The path is empty: name a file or a folder, . for this one.")
        return super().convert(value, param, ctx)


PATH = _FileOrFolder()
