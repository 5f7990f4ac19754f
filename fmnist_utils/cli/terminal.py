"""How text that others chose, such as a file's name, is shown: on a terminal, in a table, drawn."""

import io
import sys
from pathlib import Path


def write_any_name() -> None:
    """Have what a locale's encoding lacks written as Python writes it, rather than be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # unless somebody put another in its place
            stream.reconfigure(errors="backslashreplace")


def printable(text: object) -> str:
    r"""Return a text on one line, in which nothing steers a terminal.

    Parameters
    ----------
    text : object
        Such as a path or an error. What is not printable in it, such as line breaks, escape codes
        and bytes that are no text, is written as Python writes it.

    Examples
    --------
    >>> print(printable("a\x1b[31m\nshirt é.jpg"))
    a\x1b[31m\nshirt é.jpg
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def cell(text: str) -> str:
    """Return a text for a cell of a CSV file, which no spreadsheet takes for a formula.

    Parameters
    ----------
    text : str
        As for `printable`.

    Examples
    --------
    >>> cell("=cmd|' /C calc'!A0.jpg"), cell("shirt.jpg")
    ("'=cmd|' /C calc'!A0.jpg", 'shirt.jpg')
    """
    return printable(f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text)


def caption(file: Path) -> str:
    """Return the name of a file, to be drawn as it is: Matplotlib takes dollars for mathematics.

    Parameters
    ----------
    file : Path
        Its folder is left out.
    """
    return printable(file.name).replace("$", r"\$")
