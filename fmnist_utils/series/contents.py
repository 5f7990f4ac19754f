"""What an executed lesson asked and answered, for the contents page of a run."""

from dataclasses import dataclass
from pathlib import Path

import nbformat


@dataclass(frozen=True)
class Outcome:
    """A lesson's question, and what its cells tagged ``answer`` showed.

    Parameters
    ----------
    question : str
        From the notebook's metadata; empty if it has none.
    answer : str
        The first line that the last such cell with printed output printed; empty if none did.
    figure : str
        HTML of the last picture shown by such a cell; empty if there is none.
    """

    question: str
    answer: str
    figure: str


def outcome(executed: Path) -> Outcome:
    """Return what an executed notebook asked and answered.

    Parameters
    ----------
    executed : Path
        An ``.ipynb`` file with outputs.
    """
    notebook = nbformat.read(executed, as_version=4)
    question = notebook.metadata.get("fmnist", {}).get("question", "")
    answer = figure = ""
    for cell in notebook.cells:
        if "answer" not in cell.metadata.get("tags", []):
            continue
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        answer = printed.partition("\n")[0] or answer
        for output in cell.outputs:
            shown = output.get("data", {}).get("text/html", "")
            figure = shown if shown.startswith("<img") else figure  # or it is a table
    return Outcome(question, answer, figure)
