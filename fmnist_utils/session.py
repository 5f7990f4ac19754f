"""What every lesson does alike: set up, show a figure, record a result, check that it fits."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fmnist_utils import data, paths, plots, profiles, recipes, results
from fmnist_utils.classes import N_CLASSES, class_names
from fmnist_utils.errors import unknown
from fmnist_utils.recipes import Recipe
from fmnist_utils.tensorflow_quiet import import_tensorflow


def setup() -> None:
    """Import TensorFlow without its log lines, set the style of figures, print what computes.

    Notes
    -----
    Introduced in notebook 00.

    Examples
    --------
    >>> from fmnist_utils import session
    >>> session.setup()  # doctest: +ELLIPSIS
    python ... · tensorflow ... · keras ... · numpy ... · scikit-learn ...
    ... cores, ... GiB
    """
    import_tensorflow()
    plt.rcParams.update({"figure.constrained_layout.use": True, "figure.dpi": 100})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
    # Legible on a dark page too.
    plt.rcParams.update({"figure.facecolor": "white", "axes.facecolor": "white"})
    environment = results.environment()
    print(" · ".join(f"{name} {version}" for name, version in environment["versions"].items()))
    machine = environment["machine"]
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB")


def start(
    notebook: str, *, profile: str, seed: int = 0, dataset: str = "fashion_mnist"
) -> "Session":
    """Return a notebook's session; the profile and what it means are printed.

    Parameters
    ----------
    notebook : str
        File name without ending, such as ``"04_cnn"``.
    profile : {"smoke", "quick", "full"}
        How much to compute; ``FMNIST_PROFILE`` overrides it.
    seed : int
        Of what the notebook trains.
    dataset : {"fashion_mnist", "mnist", "sketches"}
        The images to work on.

    Raises
    ------
    BadInputError
        If the profile is unknown.

    Notes
    -----
    Introduced in notebook 00.

    Examples
    --------
    >>> from fmnist_utils import session
    >>> this = session.start("04_cnn", profile="full", dataset="sketches")
    profile full: everything, as published; it takes long
    >>> list(this.seeds)
    [0, 1, 2, 3, 4]
    >>> this.choose(smoke=1, quick=5, full=30)
    30
    >>> this.recipe("cnn", optimizer="sgd").optimizer
    'sgd'
    >>> this.in_band(0.93, smoke=(0, 1), quick=(0.88, 0.93), full=(0.92, 0.95))
    True
    """
    profile = paths.profile_override() or profile
    profiles.check_profile(profile)
    print(f"profile {profile}: {_PROFILE_MEANINGS[profile]}")
    return Session(notebook, profile, seed, dataset)


@dataclass(frozen=True)
class Session:
    """A notebook with its profile, seed and data set; made by `start`."""

    notebook: str
    profile: str
    seed: int
    dataset: str

    @property
    def full(self) -> bool:
        """Whether the numbers are meant as results."""
        return self.profile == "full"

    @property
    def seeds(self) -> range:
        """Seeds of a study: five in a full run, otherwise one."""
        return range(self.seed, self.seed + (5 if self.full else 1))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the data set's classes, in the order of its labels."""
        return class_names(self.dataset)

    def choose(self, *, smoke: Any, quick: Any, full: Any) -> Any:
        """Return the value for the session's profile.

        Parameters
        ----------
        smoke, quick, full : object
            One value a profile.
        """
        return {"smoke": smoke, "quick": quick, "full": full}[self.profile]

    def recipe(self, name: str, **changes: Any) -> Recipe:
        """Return a recipe of the series on the session's data, cut down to its profile.

        Parameters
        ----------
        name : str
            A key of `recipes.RECIPES`.
        **changes
            Fields to override, before the profile cuts.
        """
        fields = {"seed": self.seed, "dataset": self.dataset} | changes
        return profiles.for_profile(recipes.override(recipes.get(name), **fields), self.profile)

    def show(self, figure: Figure, name: str, *, alt: str) -> None:
        """Save a figure as ``figures/<notebook>/<name>.png`` and show it with its alt text.

        Parameters
        ----------
        figure : matplotlib.figure.Figure
            It is closed afterwards.
        name : str
            File name without ending.
        alt : str
            What the figure shows, for those who cannot see it.
        """
        if self.profile == "smoke":
            text = "profile smoke: means nothing"
            figure.text(1, 0, text, ha="right", va="top", fontsize=8, style="italic")
        path = paths.figures_dir(self.profile) / self.notebook / f"{name}.png"
        plots.save_figure(figure, path)
        plt.close(figure)
        png = path.read_bytes()
        half = int.from_bytes(png[16:20]) // 2  # of the width, to be sharp at twice the zoom
        # HTML, because no front end and no converter keeps the alt text of a bare PNG.
        address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        picture = f'<img width="{half}" alt="{escape(alt)}" src="{address}">'
        display({"text/html": picture, "text/plain": alt}, raw=True)

    def record(
        self,
        recipe: str,
        metrics: Mapping[str, float],
        *,
        seed: int | None = None,
        parameters: int | None = None,
        train_seconds: float | None = None,
        **about: Any,
    ) -> None:
        """Add one seed's metrics to the results of this run; see `results.record`.

        Parameters
        ----------
        recipe : str
            Name of the recipe or of the method.
        metrics : mapping of str to float
            Values by metric.
        seed : int, optional
            The seed measured, if it is not the session's.
        parameters : int, optional
            Of the model.
        train_seconds : float, optional
            Wall-clock seconds of training.
        **about
            Other fields of `results.Study`: ``split`` if it is not the validation images,
            ``dataset`` if it is not the session's, ``variant``.
        """
        fields = {"dataset": self.dataset, "split": "validation", **about}
        results.record(
            paths.figures_dir(self.profile) / "results.json",
            results.Study(notebook=self.notebook, profile=self.profile, recipe=recipe, **fields),
            metrics,
            seed=self.seed if seed is None else seed,
            parameters=parameters,
            train_seconds=train_seconds,
        )

    def recorded(self, recipe: str, variant: str | None = None) -> set[int]:
        """Return the seeds that this run has recorded already, so that a study can go on.

        Parameters
        ----------
        recipe : str
            As `record` was given it.
        variant : str, optional
            As `record` was given it.
        """
        rows = results.read(paths.figures_dir(self.profile) / "results.json")
        about = (self.notebook, recipe, variant)
        found = (r for r in rows if (r["notebook"], r["recipe"], r["variant"]) == about)
        return {seed for row in found for seed in row["seeds"]}

    def in_band(self, value: float, **bands: tuple[float, float]) -> bool:
        """Return True if a measured value lies between the bounds for the profile.

        The bounds are those of Fashion-MNIST; on any other data set nothing is checked.

        Parameters
        ----------
        value : float
            What was measured.
        **bands : tuple of float
            Bounds ``(low, high)`` by profile: ``smoke``, ``quick`` and ``full``.

        Raises
        ------
        AssertionError
            If it lies outside: a notebook must not go on as if nothing were wrong.
        """
        low, high = bands[self.profile]
        if self.dataset == "fashion_mnist" and not low <= value <= high:
            raise AssertionError(
                f"{value:.4f} is outside {low} to {high}, the band of profile {self.profile}"
            )
        return True


def published(notebook: str) -> pd.DataFrame:
    """Return the published test results that a notebook tells of, one line a recipe.

    Parameters
    ----------
    notebook : str
        File name without ending.

    Returns
    -------
    pandas.DataFrame
        From `results.leaderboard`.

    Notes
    -----
    Introduced in notebook 12.

    Examples
    --------
    >>> from fmnist_utils import session
    >>> session.published("04_cnn")["notebook"].unique().tolist()
    ['04_cnn']
    """
    rows = [row for row in results.read(paths.published_results()) if row["notebook"] == notebook]
    return results.leaderboard(rows)


def study(notebook: str, *, split: str = "validation") -> pd.DataFrame:
    """Return what a full run of a notebook measured.

    That is what was published, and what a full run here has added to it.

    Parameters
    ----------
    notebook : str
        File name without ending.
    split : {"validation", "test"}
        On which images.

    Returns
    -------
    pandas.DataFrame
        A line for each ``recipe``, ``variant`` and ``metric``: ``mean``, ``low`` and ``high`` (the
        95 % interval of the mean, NaN of a single seed), and ``values``, by seed, a Series.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> from fmnist_utils import session
    >>> session.study("02_dense").columns.tolist()
    ['recipe', 'variant', 'metric', 'mean', 'low', 'high', 'values']
    """
    here = results.read(paths.figures_dir("full") / "results.json")
    full = [row for row in here if row["profile"] == "full"]
    rows = []
    for row in results.joined(results.read(paths.published_results()), full):
        if (row["notebook"], row["split"]) == (notebook, split):
            low, high = row["ci95"] or (float("nan"),) * 2
            values = pd.Series(row["values"], index=row["seeds"], dtype=float)
            about = {name: row[name] for name in ("recipe", "variant", "metric", "mean")}
            rows.append({**about, "low": low, "high": high, "values": values})
    columns = ["recipe", "variant", "metric", "mean", "low", "high", "values"]
    return pd.DataFrame(rows, columns=columns)


def predictions(
    recipe: str, *, split: str = "validation", dataset: str = "fashion_mnist"
) -> dict[int, NDArray[np.float32]]:
    """Return the published probabilities of a trained recipe, by seed.

    They come with the package, so that a lesson need not train for hours to look at them. Those of
    another data set are made here, by a softmax regression that has seen a few of its images, and
    mean nothing; a line says so.

    Parameters
    ----------
    recipe : str
        Such as ``"cnn"``.
    split : {"validation", "test"}
        Of `data.load_training`, or of `data.load_test`.
    dataset : {"fashion_mnist", "mnist", "sketches"}
        Whose images.

    Returns
    -------
    dict of int to ndarray of shape (n, 10), float32
        Rounded to half precision; row i is about image i.

    Raises
    ------
    BadInputError
        If no predictions of that recipe are published, or not of these images.

    Examples
    --------
    >>> from fmnist_utils import session
    >>> session.predictions("dense")[0].shape
    (5000, 10)

    Notes
    -----
    Introduced in notebook 06.
    """
    if dataset != "fashion_mnist":
        return _stand_ins(recipe, split, dataset)
    array = "plain" if split == "test" else split  # beside "tta", the test images mirrored too
    found, names = {}, set()
    for path in sorted(paths.published_predictions().glob("*-seed*.npz")):
        name, _, rest = path.stem.partition("-seed")
        names.add(name)
        if name != recipe:
            continue
        with np.load(path) as arrays:
            if array in arrays:
                found[int(rest.partition("-")[0])] = arrays[array].astype(np.float32)
    if not found:
        raise unknown(f"recipe with published {split} predictions", recipe, names)
    return found


def _stand_ins(recipe: str, split: str, dataset: str) -> dict[int, NDArray[np.float32]]:
    print(f"No {recipe} is published for {dataset}: a softmax regression stands in for it.")
    given = data.load_training(dataset)
    known, held_out = given.train, given.validation
    images = (data.load_test(dataset) if split == "test" else held_out).images
    answers = {}
    for seed in range(5):
        few = np.random.default_rng([seed, len(recipe)]).choice(len(known.images), 100)
        regression = LogisticRegression().fit(_flat(known.images[few]), known.labels[few])
        probabilities = np.full((len(images), N_CLASSES), 1e-4, np.float32)  # a class may be unseen
        probabilities[:, regression.classes_] += regression.predict_proba(_flat(images))
        answers[seed] = probabilities / probabilities.sum(axis=1, keepdims=True)
    return answers


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(images.reshape(len(images), -1) / 255, np.float32)


_PROFILE_MEANINGS = {
    "smoke": "a few images, one epoch; it shows that the cells run, its numbers mean nothing",
    "quick": "as much as shows the point; if a full run measured more, that is published beside it",
    "full": "everything, as published; it takes long",
}
