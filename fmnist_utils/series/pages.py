"""Pages and generated cells, made from the templates beside this module."""

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_ENVIRONMENT = Environment(
    loader=PackageLoader("fmnist_utils.series"),
    autoescape=select_autoescape(["html"]),
    trim_blocks=True,
    undefined=StrictUndefined,
)


def render(template: str, **values: Any) -> str:
    """Return what a template makes; into HTML, values are escaped unless it says ``safe``.

    Parameters
    ----------
    template : str
        A file name in ``templates/``.
    **values
        All that the template names.
    """
    return _ENVIRONMENT.get_template(template).render(values) + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of texts as a Markdown table.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index is left out.
    """
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
