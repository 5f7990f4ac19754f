"""Frozen sets of typed fields, checked once, when they are made."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fmnist_utils.errors import BadInputError, unknown


class Checked(BaseModel):
    """A frozen set of typed fields whose every mistake is a BadInputError."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers see the fields

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise _bad_input(type(self), error) from error


def _bad_input(kind: type[BaseModel], error: ValidationError) -> BadInputError:
    """Return the first mistake as one sentence."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadInputError):  # of a part, or of fields that do not go together
        return cause
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return unknown(f"field of {kind.__name__}", name, kind.model_fields)
    received = "" if first["type"] == "missing" else f"; received {first['input']!r}"
    return BadInputError(f"{kind.__name__}, {name}: {first['msg']}{received}.")
