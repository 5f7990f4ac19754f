"""The command ``fmnist``. What is heavy is imported by the commands that need it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fmnist_utils import __version__
from fmnist_utils.classes import CLASS_NAMES, class_names
from fmnist_utils.cli.terminal import caption, printable, write_any_name
from fmnist_utils.cli.values import PATH, PROFILE, RECIPE, RECIPES_AND_FIELDS, limits, one_of
from fmnist_utils.errors import BadInputError, FailureError, not_installed, unknown
from fmnist_utils.photos import EXPLANATIONS
from fmnist_utils.service.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fmnist_utils.recipes import Recipe
    from fmnist_utils.store import Run

_ONE_UP = click.IntRange(min=1)
_SET = click.option(
    "--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="Change a recipe's field."
)


def main() -> NoReturn:
    """Run the command; expected errors end in one sentence and exit code 2 or 1."""
    write_any_name()
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (BadInputError, FailureError) as error:
        print(f"fmnist: {printable(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInputError) else 1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Decorate a command that imports the libraries of an extra, which may not be installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "fmnist_utils"):  # a bug
            raise
        raise not_installed(library, extra) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def commands() -> None:
    """Fashion-MNIST, measured: run the notebooks, train and evaluate their recipes."""


@commands.command("run")
@click.argument("numbers", nargs=-1)
@click.option(
    "--profile",
    default="quick",
    envvar="FMNIST_PROFILE",
    help="How much to compute.",
    **PROFILE,
)
@click.option("--seed", default=0, type=click.IntRange(0, 2**32 - 1), help="Of what is random.")
@click.option(
    "-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter."
)
@click.option("--output", type=PATH, help="Folder for what is executed.")
@click.option(
    "--publish",
    "published",
    is_flag=True,
    help="Take what a quick run shows, and what a full one measures, into the checkout.",
)
@_needs("series")
def run_series(
    numbers: tuple[str, ...],
    profile: str,
    seed: int,
    parameters: tuple[tuple[str, str], ...],
    output: Path | None,
    published: bool,
) -> None:
    """Execute the notebooks of the given NUMBERS or names, or all."""
    from fmnist_utils import data, profiles
    from fmnist_utils.series import publish_notebooks, runner

    profiles.check_profile(profile)
    given = dict(parameters)
    for name in ("profile", "seed"):
        if name in given:
            raise BadInputError(f"The {name} has an option of its own: --{name} {given[name]}.")
    if published:
        publish_notebooks.check_publishable(profile, seed, given)
    chosen = runner.select(numbers)
    # One sentence now is better than a failed notebook later.
    for dataset in sorted(runner.datasets(chosen, given) - {"sketches"}):  # these are drawn
        data.load_training(dataset)
    folder = runner.run(numbers, profile=profile, seed=seed, parameters=given, output=output)
    if published:
        publish_notebooks.publish([path.stem for path in chosen], folder, profile)


@commands.command("train", epilog=RECIPES_AND_FIELDS)
@click.argument("name", **RECIPE)
@_SET
@click.option("--deterministic", is_flag=True, help="Bit-equal weights, somewhat slower.")
@_needs("course")
def train_recipe(name: str, assignments: tuple[str, ...], deterministic: bool) -> None:
    """Train the recipe NAME, or find it trained."""
    run = _trained(_recipe(name, assignments, deterministic=deterministic))
    print(run.folder)
    for metric, value in run.metrics.items():
        form = ",.4f" if isinstance(value, float) else ","
        print(f"{metric:<14} {value:{form}}")


@commands.command("evaluate", epilog=RECIPES_AND_FIELDS)
@click.argument("name", **RECIPE)
@_SET
@click.option("--seeds", default="0,1,2", help="Trained and read one by one.")
@click.option("--tta", is_flag=True, help="Also average over each image and its mirror image.")
@click.option("--ensemble", is_flag=True, help="Also average over all seeds.")
@click.option("--publish", is_flag=True, help="Add to the committed figures/results.json.")
@click.option(
    "--report",
    "folder",
    type=PATH,
    metavar="DIR",
    help="Write tables, the confusion matrix and galleries into DIR, of the first seed.",
)
@_needs("course")
def evaluate_recipe(
    name: str, assignments: tuple[str, ...], seeds: str, folder: Path | None, **options: bool
) -> None:
    """Read the test set with the recipe NAME, a seed at a time.

    The last epoch counts. NAME may also be a CSV file of predictions for the test images, with
    --report.
    """
    from fmnist_utils import recipes

    chosen = _parse_seeds(seeds)
    changes = recipes.parse_changes(assignments)
    if "seed" in changes:
        raise BadInputError(f"The seeds come from --seeds; received --set seed={changes['seed']}.")
    if folder is not None:
        if any(options.values()):
            raise BadInputError(
                "--report goes alone: leave out --tta, --ensemble and --publish, or run twice."
            )
        _report(name, assignments, chosen[0], folder)
        return
    if name.lower().endswith(".csv"):
        raise BadInputError(f"{name} holds predictions: name a folder, --report DIR.")
    recipe = _recipe(name, assignments)
    from fmnist_utils.series import test_set

    variant = ", ".join(assignments) or None
    test_set.read_test(name, recipe, chosen, variant=variant, **options)


@commands.command("results")
@click.option("--split", default="test", help="Of which images.", **one_of("test", "validation"))
@click.option("--profile", default="full", help="Of which runs.", **PROFILE)
@_needs("course")
def show_results(split: str, profile: str) -> None:
    """Show the published results."""
    from fmnist_utils import paths, profiles, results

    profiles.check_profile(profile)
    if split not in ("test", "validation"):
        raise unknown("split", split, ("test", "validation"))
    rows = results.read(paths.published_results())
    table = results.leaderboard(rows, split=split, profile=profile)
    text = table.to_string(index=False)
    print(f"No results for split {split}, profile {profile}." if table.empty else text)


@commands.command("data")
@click.argument("paths_or_names", metavar="[DATASET|PATH]...", nargs=-1)
@click.option(
    "--download",
    is_flag=True,
    help="Download what is missing or damaged; of no DATASET, the photos and weights too.",
)
@click.option(
    "--on-bad",
    type=click.Choice(["raise", "drop"]),
    default="raise",
    help="List a file's bad images and stop, or leave them out.",
)
@_needs("course")
def check_data(paths_or_names: tuple[str, ...], download: bool, on_bad: Any) -> None:
    """Show what data is there, and whether it is as published.

    Without arguments, both data sets; a PATH is an IDX or CSV file, gzipped or not, a .npz, or
    a folder of PNGs, that is read and described.
    """
    from fmnist_utils import data, paths
    from fmnist_utils.cli import data_files

    missing = False
    for item in paths_or_names or ("fashion_mnist", "mnist"):
        if paths.exists(item):
            data_files.describe(Path(item), on_bad)
            continue
        if not item.isidentifier():  # as the names of data sets are
            raise BadInputError(f"There is no file or folder {item!r}: check the path.")
        if download:
            data.load_published(item)
        for status in data.status(item):
            missing |= status.state != "verified"
            print(f"{item:<14} {status.name:<24} {status.state}  {status.path or ''}")
    if missing:
        raise FailureError(
            "Not all files are there and whole: run fmnist data --download, or set FMNIST_DATA_DIR "
            "or KERAS_HOME to a folder that has them; or run the series on drawings, fmnist run "
            "--profile smoke -p dataset sketches."
        )
    if download and not paths_or_names:
        data_files.download_the_rest()


@commands.command("explain", epilog=RECIPES_AND_FIELDS)
@click.argument("image", type=PATH)
@click.option("--recipe", "name", default="fast", help="Whose answer.", **RECIPE)
@_SET
@click.option("--method", default="grad_cam", help="By which method.", **one_of(*EXPLANATIONS))
@click.option(
    "--class",
    "wanted",
    help="What to explain instead of the answer.",
    **{**one_of(*CLASS_NAMES), "metavar": "NAME"},
)
@click.option("--output", type=PATH, help="PNG or SVG; beside IMAGE if not.")
@_needs("course")
def explain_image(
    image: Path,
    name: str,
    assignments: tuple[str, ...],
    method: str,
    wanted: str | None,
    output: Path | None,
) -> None:
    """Draw which parts of IMAGE a recipe's answer rests on.

    IMAGE is a photo, or an image of the data set. The recipe is trained first if it has not been;
    that takes minutes.
    """
    from fmnist_utils.photos import prepare

    picture = prepare.to_image(prepare.read(image)).image
    names = class_names(_checked(name, assignments).dataset)
    if wanted is not None and wanted not in names:
        raise unknown("class", wanted, names)
    if method not in EXPLANATIONS:
        raise unknown("method", method, EXPLANATIONS)
    target = _drawable(output or prepare.drawing(image, method))
    run = _trained(_recipe(name, assignments))
    from fmnist_utils import explain, plots
    from fmnist_utils.arrays import scale_maps

    (probability,) = run.predict(picture[None])
    explained = probability.argmax() if wanted is None else names.index(wanted)
    maps = scale_maps(getattr(explain, method)(run.model, picture[None], [explained]))
    title = f"{names[explained]}, {probability[explained]:.0%}"
    figure = plots.overlays(picture[None], {method: maps}, captions=[caption(image)], title=title)
    plots.save_figure(figure, target)
    print(f"{title}: {target}")


@commands.command("predict")
@click.argument("sources", metavar="PATH...", nargs=-1, required=True, type=PATH)
@click.option("--top", default=3, help="How many classes to name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.option("--csv", "as_csv", is_flag=True, help="One line a photo, for a spreadsheet.")
@click.option("--explain", is_flag=True, help="Draw the steps and the reasons beside each photo.")
@_needs("course")
def predict_photos(
    sources: tuple[Path, ...], top: int, as_json: bool, as_csv: bool, explain: bool
) -> None:
    """Say what garment is on photos: files, or all images in folders.

    Exit code 0: all were answered; 3: some could not be read, or were left out; 2: none could.
    """
    from fmnist_utils.cli import predict_files
    from fmnist_utils.photos import prepare

    if as_json and as_csv:
        raise BadInputError("Choose one of --json and --csv.")
    form = "json" if as_json else "csv" if as_csv else "table"
    files, others = prepare.find(sources)
    n_failed = predict_files.answer(
        files, top=top, write=predict_files.WRITERS[form], explain=explain
    )
    if others:
        names = ", ".join(file.name for file in others[:5]) + ("…" if len(others) > 5 else "")
        left_out = f"{len(others)} other images left out ({names})"
        known = ", ".join(prepare.FORMATS)
        print(f"fmnist: {printable(left_out)}: need {known}.", file=sys.stderr)
    if n_failed or others:
        sys.exit(2 if n_failed == len(files) else 3)


@commands.command("similar")
@click.argument("photo", type=PATH)
@click.option("--count", default=10, type=click.IntRange(1, 60_000), help="How many to draw.")
@click.option("--output", type=PATH, help="PNG or SVG; beside PHOTO if not.")
@_needs("course")
def find_similar(photo: Path, count: int, output: Path | None) -> None:
    """Find the training images most like the garment on PHOTO."""
    from fmnist_utils.cli import predict_files
    from fmnist_utils.photos import prepare

    target = _drawable(output or prepare.drawing(photo, "similar"))
    for label, n in predict_files.draw_similar(photo, count, target).items():
        print(f"{label:<12} {n}")
    print(target)


@commands.command("serve")
@click.option("--host", default="127.0.0.1", help="0.0.0.0 for all networks.")
@click.option("--port", default=8000, type=click.IntRange(0, 65_535), help="0 for a free one.")
@click.option("--allowed-host", "hosts", multiple=True, help="Answer to it alone; repeatable.")
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="In place of /metrics.")
@limits
@_needs("serve")
def serve_http(
    host: str, port: int, hosts: tuple[str, ...], metrics_port: int | None, **most: Any
) -> None:
    """Answer over HTTP, with a page at /, until stopped.

    What is in flight then is finished. Where FMNIST_API_KEY is set, clients must send it as
    X-API-Key: one key for all, as readable on its way as the rest.
    """
    from fmnist_utils.service import app

    app.run(host, port, Limits(**most), hosts=hosts, metrics_port=metrics_port)


@commands.command("export", epilog=RECIPES_AND_FIELDS)
@click.argument("name", **RECIPE)
@_SET
@click.option(
    "--format",
    "kind",
    help="For which runtime; as --output ends, or onnx.",
    **one_of("onnx", "litert"),
)
@click.option("--int8", is_flag=True, help="Weights and activations in 8 bits.")
@click.option("--output", type=PATH, help="File to write; in the run's folder if not.")
@_needs("export")
def export_recipe(
    name: str, assignments: tuple[str, ...], kind: str | None, int8: bool, output: Path | None
) -> None:
    """Write the recipe NAME, trained, for other runtimes.

    Their answers are compared with Keras's.
    """
    recipe = _recipe(name, assignments)
    from fmnist_utils import data, export

    ending = export.kind_of(output) if output else None
    kind = kind or ending or "onnx"
    export.check_installed(kind)
    if ending not in (None, kind):
        raise BadInputError(
            f"--format {kind} and --output {output} do not go together: leave one of them out."
        )
    run = _trained(recipe)
    suffix = export.SUFFIXES[kind]
    target = output or run.folder / f"model{'.int8' if int8 else ''}{suffix}"
    calibration = data.load_training(recipe.dataset).train.images[:500] if int8 else None
    export.export(run.model, target, calibration=calibration)
    measured = export.parity(run.model, target, *data.load_test(recipe.dataset))
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
    print(
        f"On the test images: {measured.agreement:.2%} of the answers are Keras's, probabilities "
        f"differ by at most {measured.largest_difference:.1g}, accuracy "
        f"{measured.exported_accuracy:.4f} (Keras {measured.accuracy:.4f})"
    )


@commands.command("package", epilog=RECIPES_AND_FIELDS)
@click.argument("name", default="photo", **RECIPE)
@_SET
@click.option("--into", type=PATH, metavar="DIR", help="Where to write instead.")
@_needs("export")
def package_model(name: str, assignments: tuple[str, ...], into: Path | None) -> None:
    """Make the packaged model anew."""
    recipe = _recipe(name, assignments)
    from fmnist_utils import paths, recipes
    from fmnist_utils.series import bundle_model

    same = {field: getattr(recipe, field) for field in ("dataset", "train_size", "seed")}
    second = recipes.override(recipes.get("slim"), **same)
    folder = into or paths.packaged_model_dir()
    card = bundle_model.package(_trained(recipe), _trained(second), name, folder)
    print(f"{folder}: accuracy {card['accuracy']['test']:.4f} on the test images")


@commands.command("photos")
@click.argument("folder", required=False, type=PATH)
@click.option("--publish", is_flag=True, help="Also write README's table of photos anew.")
@_needs("series")
def measure_photos(folder: Path | None, publish: bool) -> None:
    """Measure the packaged model, or that in FOLDER, on real photos."""
    from fmnist_utils.series import photo_report, publish_notebooks

    answers = photo_report.ask(folder)
    print(photo_report.text(answers))
    if publish:
        publish_notebooks.publish_photos(answers)


@commands.command("stamp")
@click.option(
    "--speed", type=PATH, help="What make bench measured, to be published: runs/speed.json."
)
@_needs("series")
def stamp_text(speed: Path | None) -> None:
    """Write the generated text of README and the notebooks anew.

    Tables, costs, links and badges.
    """
    from fmnist_utils.series import publish_notebooks

    publish_notebooks.stamp(speed)


def _recipe(name: str, assignments: tuple[str, ...], **changes: Any) -> "Recipe":
    """Return a recipe, and only if it is a good one import TensorFlow, quietly: that takes long."""
    from fmnist_utils.tensorflow_quiet import import_tensorflow

    recipe = _checked(name, assignments, **changes)
    import_tensorflow()
    return recipe


def _checked(name: str, assignments: tuple[str, ...], **changes: Any) -> "Recipe":
    from fmnist_utils import recipes

    asked = {**recipes.parse_changes(assignments), **changes}
    return recipes.override(recipes.get(name), **asked)


def _trained(recipe: "Recipe") -> "Run":
    from fmnist_utils.series.trained import trained

    return trained(recipe)


def _drawable(target: Path) -> Path:
    """Return the path of a figure, or raise BadInputError for a suffix that is not drawn."""
    if target.suffix.lower() not in (".png", ".svg"):
        raise BadInputError(f"Cannot draw {target}: need a name that ends in .png or .svg.")
    return target


def _report(name: str, assignments: tuple[str, ...], seed: int, folder: Path) -> None:
    """Write a report of a recipe, trained or found trained, or of a file of predictions."""
    from fmnist_utils import data
    from fmnist_utils.series import evaluation_report

    evaluation_report.check_folder(folder)
    answers: NDArray[np.floating]
    names = CLASS_NAMES
    if name.lower().endswith(".csv"):
        if assignments:
            raise BadInputError("--set changes a recipe; a file of predictions has none.")
        test = data.load_test()
        answers = evaluation_report.read_predictions(Path(name), len(test.labels))
    else:
        recipe = _recipe(name, assignments, seed=seed)
        test = data.load_test(recipe.dataset)
        answers = _trained(recipe).predict(test.images)
        names = class_names(recipe.dataset)
    evaluation_report.write(f"{name} on the test images", test, answers, folder, names=names)
    print(folder / "index.html")


def _parse_seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError as error:
        raise BadInputError(f"--seeds takes numbers such as 0,1,2; received {text!r}.") from error
