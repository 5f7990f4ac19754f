"""The command ``fmnist``. What is heavy is imported by the commands that need it."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import click

from fmnist_utils import __version__
from fmnist_utils.errors import BadInputError, FailureError, unknown

PROFILE = click.option(
    "--profile", default="quick", show_default=True, help="How much to compute: smoke, quick, full."
)
SET = click.option(
    "--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="Change a recipe's field."
)


def main() -> NoReturn:
    """Run the command; expected errors end in one sentence and exit code 2 or 1."""
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BadInputError as error:
        _end(error, 2)
    except FailureError as error:
        _end(error, 1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


def _end(error: Exception, code: int) -> NoReturn:
    print(f"fmnist: {error}", file=sys.stderr)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Fashion-MNIST, measured: run the notebooks, train and evaluate their recipes."""


@commands.command()
@click.argument("numbers", nargs=-1)
@PROFILE
@click.option("--seed", default=0, show_default=True, help="Of everything that is random.")
@click.option(
    "-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter."
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder for what is executed.")
@click.option("--publish", is_flag=True, help="Take the outputs of a full run into the checkout.")
def run(
    numbers: tuple[str, ...],
    profile: str,
    seed: int,
    parameters: tuple[tuple[str, str], ...],
    output: Path | None,
    publish: bool,
) -> None:
    """Execute the notebooks with the given NUMBERS, or all of them."""
    from fmnist_utils import data, notebooks, publishing, recipes

    recipes.check_profile(profile)
    given = dict(parameters)
    if publish:
        publishing.check_publishable(profile, seed, given)
    chosen = notebooks.select(numbers)
    # One sentence now is better than a failed notebook later.
    data.load_training(given.get("dataset", "fashion_mnist"))
    folder = notebooks.run(numbers, profile=profile, seed=seed, parameters=given, output=output)
    if publish:
        publishing.publish([path.stem for path in chosen], folder)


@commands.command()
@click.argument("name")
@SET
@click.option("--deterministic", is_flag=True, help="Bit-equal weights, somewhat slower.")
def train(name: str, assignments: tuple[str, ...], deterministic: bool) -> None:
    """Train the recipe NAME, or find it trained."""
    from fmnist_utils import lesson, recipes

    changes = recipes.parse_changes(assignments)
    if deterministic:
        changes["deterministic"] = True
    recipe = recipes.override(recipes.get(name), **changes)
    lesson.import_tensorflow()
    from fmnist_utils import store

    trained = store.get_or_train(recipe)
    print(trained.folder)
    for metric, value in trained.metrics.items():
        print(
            f"{metric:<14} {value:,.4f}" if isinstance(value, float) else f"{metric:<14} {value:,}"
        )


@commands.command()
@click.argument("name")
@SET
@click.option("--seeds", default="0,1,2", show_default=True, help="Trained and read one by one.")
@click.option("--tta", is_flag=True, help="Also average over each image and its mirror image.")
@click.option("--ensemble", is_flag=True, help="Also average over all seeds.")
@click.option("--publish", is_flag=True, help="Add to the committed figures/results.json.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write tables, the confusion matrix and galleries into DIR, of the first seed.",
)
def evaluate(
    name: str,
    assignments: tuple[str, ...],
    seeds: str,
    tta: bool,
    ensemble: bool,
    publish: bool,
    folder: Path | None,
) -> None:
    """Read the test set with the recipe NAME at its last epoch, a seed at a time.

    NAME may also be a CSV file of predictions for the test images, with --report.
    """
    from fmnist_utils import lesson, recipes

    if folder is not None:
        if tta or ensemble or publish:
            raise BadInputError(
                "--report goes alone: leave out --tta, --ensemble and --publish, or run twice."
            )
        _report(name, recipes.parse_changes(assignments), _parse_seeds(seeds)[0], folder)
        return
    if name.endswith(".csv"):
        raise BadInputError(f"{name} holds predictions: name a folder, --report DIR.")
    recipe = recipes.override(recipes.get(name), **recipes.parse_changes(assignments))
    chosen = _parse_seeds(seeds)
    lesson.import_tensorflow()
    from fmnist_utils import benchmark

    variant = ", ".join(assignments) or None
    benchmark.read_test(
        name, recipe, chosen, variant=variant, tta=tta, ensemble=ensemble, publish=publish
    )


@commands.command()
@click.option("--split", default="test", show_default=True, help="test or validation.")
@click.option("--profile", default="full", show_default=True, help="smoke, quick or full.")
def results(split: str, profile: str) -> None:
    """Show the published results."""
    from fmnist_utils import paths, recipes
    from fmnist_utils import results as measured

    recipes.check_profile(profile)
    if split not in ("test", "validation"):
        raise unknown("split", split, ("test", "validation"))
    table = measured.leaderboard(
        measured.read(paths.published_results()), split=split, profile=profile
    )
    print(f"No results for split {split}, profile {profile}." if table.empty else _text(table))


@commands.command()
@click.argument("paths_or_names", metavar="[DATASET|PATH]...", nargs=-1)
@click.option("--download", is_flag=True, help="Download what is missing or damaged.")
def data(paths_or_names: tuple[str, ...], download: bool) -> None:
    """Show what data is there, where it came from and whether it verifies.

    Without arguments, both data sets; a PATH is an IDX or CSV file, or a folder of PNGs, that is
    read and described.
    """
    from fmnist_utils import data as datasets

    missing = False
    for item in paths_or_names or ("fashion_mnist", "mnist"):
        if Path(item).exists():
            _describe(Path(item))
            continue
        if download:
            datasets.load_published(item)
        for status in datasets.status(item):
            missing |= status.state != "verified"
            print(f"{item:<14} {status.name:<24} {status.state}  {status.path or ''}")
    if missing:
        raise FailureError(
            "Not all files are there and whole: run fmnist data --download, or set FMNIST_DATA_DIR "
            "or KERAS_HOME to a folder that has them."
        )


@commands.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--recipe", "name", default="fast", show_default=True, help="Whose answer.")
@SET
@click.option("--method", default="grad_cam", show_default=True, help="Of fmnist_utils.explain.")
@click.option("--class", "wanted", metavar="NAME", help="What to explain instead of the answer.")
@click.option("--output", type=click.Path(path_type=Path), help="PNG or SVG; beside IMAGE if not.")
def explain(
    image: Path,
    name: str,
    assignments: tuple[str, ...],
    method: str,
    wanted: str | None,
    output: Path | None,
) -> None:
    """Draw which parts of IMAGE, a PNG of 28x28 pixels, an answer rests on."""
    from fmnist_utils import data, lesson, recipes
    from fmnist_utils.labels import CLASS_NAMES

    picture = data.read_png(image)
    recipe = recipes.override(recipes.get(name), **recipes.parse_changes(assignments))
    if wanted is not None and wanted not in CLASS_NAMES:
        raise unknown("class", wanted, CLASS_NAMES)
    target = output or image.with_suffix(f".{method}.png")
    if target.suffix not in (".png", ".svg"):
        raise BadInputError(f"Cannot draw {target}: need a name that ends in .png or .svg.")
    lesson.import_tensorflow()
    from fmnist_utils import explain as explaining
    from fmnist_utils import plots, results, store

    if method not in explaining.METHODS:
        raise unknown("method", method, explaining.METHODS)
    run = store.get_or_train(recipe)
    (probability,) = run.predict(picture[None])
    explained = probability.argmax() if wanted is None else CLASS_NAMES.index(wanted)
    maps = explaining.METHODS[method](run.model, picture[None], [explained])
    title = f"{CLASS_NAMES[explained]}, {probability[explained]:.0%}"
    results.save_figure(plots.overlays(picture[None], {method: maps}, title=title), target)
    print(f"{title}: {target}")


@commands.command()
def stamp() -> None:
    """Write the generated text anew: README's table, the notebooks' costs, links and badges."""
    from fmnist_utils import publishing

    publishing.stamp()


def _report(name: str, changes: dict[str, Any], seed: int, folder: Path) -> None:
    """Write a report of a recipe, trained or found trained, or of a file of predictions."""
    from fmnist_utils import data as datasets
    from fmnist_utils import lesson, recipes, report

    report.check_folder(folder)
    title = f"{name} on the test images"
    if name.endswith(".csv"):
        if changes:
            raise BadInputError("--set changes a recipe; a file of predictions has none.")
        test = datasets.load_test()
        report.write(title, test, report.read_predictions(Path(name), len(test.labels)), folder)
    else:
        recipe = recipes.override(recipes.get(name), **{"seed": seed, **changes})
        lesson.import_tensorflow()
        from fmnist_utils import store

        test = datasets.load_test(recipe.dataset)
        report.write(title, test, store.get_or_train(recipe).predict(test.images), folder)
    print(folder / "index.html")


def _describe(path: Path) -> None:
    from fmnist_utils import data as datasets
    from fmnist_utils.labels import CLASS_NAMES

    if path.is_file() and path.suffix != ".csv":
        array = datasets.read_idx(path)
        print(f"{path}: IDX, {array.dtype}, shape {array.shape}, {array.min()} to {array.max()}")
        return
    labelled = datasets.read_folder(path) if path.is_dir() else datasets.read_csv(path)
    print(f"{path}: {len(labelled.labels):,} images of 28x28, no problems")
    counts = Counter(labelled.labels.tolist())
    for label, name in enumerate(CLASS_NAMES):
        print(f"  {name:<12} {counts[label]:>7,}")


def _parse_seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise BadInputError(f"--seeds takes numbers such as 0,1,2; received {text!r}.") from error


def _text(table: object) -> str:
    return table.to_string(index=False)  # type: ignore[attr-defined, no-any-return]
