"""What the contents page of a run says of a lesson."""

from pathlib import Path

import nbformat
from nbformat import v4

from fmnist_utils.series import contents


def _cell(*outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ("answer",)) -> object:
    return v4.new_code_cell("pass", outputs=list(outputs), metadata={"tags": list(tags)})


def _picture(name: str) -> nbformat.NotebookNode:
    return v4.new_output("display_data", data={"text/html": f"<img alt={name}>"})


def _printed(text: str) -> nbformat.NotebookNode:
    return v4.new_output("stream", text=text)


def test_the_tagged_cells_answer(tmp_path: Path) -> None:
    cells = [
        _cell(_printed("early"), _picture("early"), tags=()),
        _cell(
            _printed("a note on the figure\n"),
            _picture("study"),
            v4.new_output("display_data", data={"text/html": "<table>"}),
        ),
        _cell(_printed("By half "), _printed("a point.\nfour more lines")),
        _cell(_picture("late"), tags=("central",)),
    ]
    path = tmp_path / "01_a.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"fmnist": {"question": "How?"}}), path)
    assert contents.outcome(path) == contents.Outcome("How?", "By half a point.", "<img alt=study>")


def test_a_notebook_that_says_nothing_of_itself(tmp_path: Path) -> None:
    nbformat.write(v4.new_notebook(cells=[_cell(tags=())]), tmp_path / "01_a.ipynb")
    assert contents.outcome(tmp_path / "01_a.ipynb") == contents.Outcome("", "", "")
