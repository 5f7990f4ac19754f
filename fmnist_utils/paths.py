"""Where data, runs and figures lie: the one module that reads environment variables."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the checkout that holds the notebooks; where there is none, the working folder."""
    checkout = _PACKAGE.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def notebooks_dir() -> Path:
    """Return the folder of the numbered notebooks."""
    return root() / "notebooks"


def keras_home() -> Path:
    """Return the Keras home: ``KERAS_HOME``, or ``~/.keras``."""
    return _from_environment("KERAS_HOME") or Path.home() / ".keras"


def data_dirs() -> list[Path]:
    """Return the folders to look for data sets in, best first.

    ``FMNIST_DATA_DIR`` where it is set, then the Keras home's ``datasets/``.
    """
    chosen = _from_environment("FMNIST_DATA_DIR")
    return [*([chosen] if chosen else []), keras_home() / "datasets"]


def photos_dir() -> Path:
    """Return the folder of the real photos: ``FMNIST_PHOTOS_DIR``, or one in the Keras home."""
    return _from_environment("FMNIST_PHOTOS_DIR") or keras_home() / "datasets" / "photos"


def packaged_model_dir() -> Path:
    """Return the folder of the model that comes with the package.

    Notes
    -----
    Introduced in notebook 16.

    Examples
    --------
    >>> from fmnist_utils import paths
    >>> (paths.packaged_model_dir() / "model.onnx").exists()
    True
    """
    return _PACKAGE / "photos" / "model"


def runs_dir() -> Path:
    """Return the folder of trained models: ``FMNIST_RUNS_DIR``, or ``runs/`` in the checkout."""
    return _from_environment("FMNIST_RUNS_DIR") or root() / "runs"


def series_dir(profile: str) -> Path:
    """Return the folder for the notebooks that were executed with a profile.

    Parameters
    ----------
    profile : {"smoke", "quick", "full"}
        Its name, which becomes the folder's.
    """
    return runs_dir() / "series" / profile


def figures_dir(profile: str) -> Path:
    """Return the folder that notebooks draw and measure into.

    ``FMNIST_FIGURES_DIR`` (set by ``fmnist run``), or one for each profile in the runs folder;
    never the committed one, see `published_figures_dir`.

    Parameters
    ----------
    profile : {"smoke", "quick", "full"}
        As for `series_dir`.
    """
    return _from_environment("FMNIST_FIGURES_DIR") or series_dir(profile) / "figures"


def published_figures_dir() -> Path:
    """Return the committed folder of figures and results, which only publishing writes."""
    return root() / "figures"


def published_results() -> Path:
    """Return the committed ``results.json``; in an installed wheel, the copy it carries.

    Notes
    -----
    Introduced in notebook 10.

    Examples
    --------
    >>> published_results().name
    'results.json'
    """
    carried = _PACKAGE / "results.json"
    return carried if carried.exists() else published_figures_dir() / "results.json"


def published_predictions() -> Path:
    """Return the folder of the committed predictions; in an installed wheel, the copy it carries.

    Examples
    --------
    >>> published_predictions().name
    'predictions'
    """
    carried = _PACKAGE / "predictions"
    return carried if carried.exists() else published_figures_dir() / "predictions"


def exists(path: str | Path) -> bool:
    """Tell whether there is a file or folder; at no path that is empty or longer than any may be.

    Parameters
    ----------
    path : str or Path
        `Path.exists` takes an empty one for the working folder, and raises for one too long.

    Examples
    --------
    >>> from fmnist_utils import paths
    >>> paths.exists("."), paths.exists(""), paths.exists(5_000 * "a")
    (True, False, False)
    """
    return os.path.exists(path)  # noqa: PTH110


def profile_override() -> str | None:
    """Return ``FMNIST_PROFILE``, which overrides a notebook's own profile, or None."""
    return os.environ.get("FMNIST_PROFILE") or None


def api_key() -> str:
    """Return ``FMNIST_API_KEY``, which the service's clients must send; empty if they need none."""
    return os.environ.get("FMNIST_API_KEY", "")


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser().resolve() if value else None
