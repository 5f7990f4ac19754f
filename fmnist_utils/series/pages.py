"""The HTML pages of the series, made from the templates beside this module."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("fmnist_utils.series"),
    autoescape=True,
    trim_blocks=True,
    undefined=StrictUndefined,
)


def render(template: str, **values: Any) -> str:
    """Return a page as text; what it is given is escaped, unless the template says ``safe``.

    Parameters
    ----------
    template : str
        A file name in ``templates/``.
    **values
        All that the template names.
    """
    return _ENVIRONMENT.get_template(template).render(values) + "\n"
