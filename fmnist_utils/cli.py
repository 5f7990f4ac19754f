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

_PATH = click.Path(path_type=Path)


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
@click.option("--output", type=_PATH, help="Folder for what is executed.")
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
    type=_PATH,
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
    changes = recipes.parse_changes(assignments)
    recipe = recipes.override(recipes.get(name), **changes)
    chosen = _parse_seeds(seeds)
    lesson.import_tensorflow()
    from fmnist_utils import benchmark

    if "seed" in changes:
        raise BadInputError(f"The seeds come from --seeds; received --set seed={changes['seed']}.")
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
@click.argument("image", type=_PATH)
@click.option("--recipe", "name", default="fast", show_default=True, help="Whose answer.")
@SET
@click.option("--method", default="grad_cam", show_default=True, help="Of fmnist_utils.explain.")
@click.option("--class", "wanted", metavar="NAME", help="What to explain instead of the answer.")
@click.option("--output", type=_PATH, help="PNG or SVG; beside IMAGE if not.")
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
@click.argument("sources", metavar="PATH...", nargs=-1, required=True, type=_PATH)
@click.option("--top", default=3, show_default=True, help="How many classes to name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.option("--csv", "as_csv", is_flag=True, help="One line a photo, for a spreadsheet.")
@click.option("--explain", is_flag=True, help="Draw the steps and the reasons beside each photo.")
def predict(
    sources: tuple[Path, ...], top: int, as_json: bool, as_csv: bool, explain: bool
) -> None:
    """Say what garment is on photos: files, or all images in folders.

    Exit code 0: all were answered; 3: some could not be read; 2: none could.
    """
    from fmnist_utils import answers, images

    if as_json and as_csv:
        raise BadInputError("Choose one of --json and --csv.")
    write = answers.as_json if as_json else answers.as_csv if as_csv else answers.as_table
    failed = answers.answer(images.find(sources), top=top, write=write, explain=explain)
    if failed:
        sys.exit(failed)


@commands.command()
@click.argument("photo", type=_PATH)
@click.option("--count", default=10, show_default=True, help="How many neighbours.")
@click.option("--output", type=_PATH, help="PNG or SVG; beside PHOTO if not.")
def similar(photo: Path, count: int, output: Path | None) -> None:
    """Find the training images that are most like the garment on PHOTO, and draw them."""
    from fmnist_utils import images, predictor, results, similarity

    target = output or photo.with_suffix(images.SIMILAR)
    if target.suffix not in (".png", ".svg"):
        raise BadInputError(f"Cannot draw {target}: need a name that ends in .png or .svg.")
    asked = predictor.Predictor()
    prepared, answers = asked.predict_file(photo)
    catalogue = similarity.catalogue(asked)
    found = catalogue.index.search(answers.embedding, count)
    from fmnist_utils import plots
    from fmnist_utils.labels import CLASS_NAMES

    captions = [
        f"{CLASS_NAMES[catalogue.labels[i]]}\n{similarity_:.2f}"
        for i, similarity_ in zip(found.indices[0], found.similarities[0], strict=True)
    ]
    shown = [prepared.image, *catalogue.images[found.indices[0]]]
    figure = plots.image_grid(shown, ["query", *captions], columns=6, title=photo.name)
    results.save_figure(figure, target)
    for name, n in Counter(
        CLASS_NAMES[catalogue.labels[i]] for i in found.indices[0]
    ).most_common():
        print(f"{name:<12} {n}")
    print(target)


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for all networks.")
@click.option("--port", default=8000, show_default=True)
@click.option("--max-bytes", default=20_000_000, show_default=True, help="Of a request.")
@click.option("--max-pixels", default=50_000_000, show_default=True, help="Of a photo.")
@click.option("--max-files", default=32, show_default=True, help="Of a request.")
@click.option("--max-seconds", default=30.0, show_default=True, help="For a request to arrive.")
@click.option("--max-waiting", default=256, show_default=True, help="Requests at work at once.")
def serve(
    host: str,
    port: int,
    max_bytes: int,
    max_pixels: int,
    max_files: int,
    max_seconds: float,
    max_waiting: int,
) -> None:
    """Answer over HTTP, with a page at /, until stopped; what is in flight is finished."""
    from fmnist_utils import observe
    from fmnist_utils import serve as serving

    limits = observe.Limits(
        body_bytes=max_bytes,
        pixels=max_pixels,
        files=max_files,
        seconds=max_seconds,
        waiting=max_waiting,
    )
    serving.run(host, port, limits)


@commands.command()
@click.argument("name")
@SET
@click.option("--format", "kind", default="onnx", show_default=True, help="onnx or litert.")
@click.option("--int8", is_flag=True, help="Weights and activations in 8 bits.")
@click.option("--output", type=_PATH, help="File to write; in the run's folder if not.")
def export(
    name: str, assignments: tuple[str, ...], kind: str, int8: bool, output: Path | None
) -> None:
    """Write the recipe NAME, trained, for other runtimes, and compare the answers with Keras's."""
    from fmnist_utils import data, lesson, recipes

    recipe = recipes.override(recipes.get(name), **recipes.parse_changes(assignments))
    lesson.import_tensorflow()
    from fmnist_utils import export as exporting
    from fmnist_utils import store

    exporting.check_installed(kind)
    run = store.get_or_train(recipe)
    suffix = exporting.SUFFIXES[kind]  # type: ignore[index]
    target = output or run.folder / f"model{'.int8' if int8 else ''}{suffix}"
    calibration = data.load_training(recipe.dataset).train.images[:500] if int8 else None
    exporting.export(run.model, target, calibration=calibration)
    measured = exporting.parity(run.model, target, *data.load_test(recipe.dataset))
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
    print(
        f"On the test images: {measured.agreement:.2%} of the answers are Keras's, probabilities "
        f"differ by at most {measured.largest_difference:.1g}, accuracy "
        f"{measured.exported_accuracy:.4f} (Keras {measured.accuracy:.4f})"
    )


@commands.command()
@click.argument("name", default="photo")
@SET
def package(name: str, assignments: tuple[str, ...]) -> None:
    """Make the model that comes with the package anew, from the recipe NAME."""
    from fmnist_utils import lesson, paths, recipes

    recipe = recipes.override(recipes.get(name), **recipes.parse_changes(assignments))
    lesson.import_tensorflow()
    from fmnist_utils import packaging, store

    folder = paths.packaged_model_dir()
    card = packaging.package(store.get_or_train(recipe), name, folder)
    print(f"{folder}: accuracy {card['accuracy']['test']:.4f} on the test images")


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
