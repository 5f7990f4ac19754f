"""Answers to files of photos, one after the other, as a table, CSV or JSON."""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
from fmnist_utils.cli.terminal import caption, cell, printable
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos.predictor import NONE_OF_THE_TEN, Predictor
from fmnist_utils.photos.prepare import Prepared, drawing
from fmnist_utils.photos.second_opinion import likeliest


@dataclass(frozen=True)
class Line:
    """The answer to a file, or why there is none.

    Parameters
    ----------
    file : str
        Its path.
    answer : str
        A class, or "none of the ten"; empty if the file could not be read.
    top : list of dict
        The likeliest classes, each ``{"class": str, "probability": float}``, best first.
    alternatives : list of str
        The classes that are open beside the likeliest.
    error : str
        Why the file could not be read; empty if it could.
    """

    file: str
    answer: str = ""
    top: list[dict[str, object]] = field(default_factory=list)
    alternatives: list[str] = field(default_factory=list)
    error: str = ""


def answer(
    files: Sequence[Path], *, top: int, write: Callable[[Iterable[Line], int], None], explain: bool
) -> int:
    """Write the answers to files of photos, and return how many files could not be read.

    Parameters
    ----------
    files : sequence of Path
        Of photos; what cannot be read is reported on stderr, and the others are answered.
    top : int
        How many classes to name, 1 to 10.
    write : callable
        One of `WRITERS`.
    explain : bool
        Also draw the steps and a Grad-CAM map, into a PNG beside each file.

    Raises
    ------
    BadInputError
        If top is not between 1 and 10.
    """
    if not 1 <= top <= N_CLASSES:
        raise BadInputError(f"--top must lie between 1 and {N_CLASSES}; received {top}.")
    line_of = partial(_line, Predictor(), top=top, explain=explain)
    failed = []

    def lines() -> Iterator[Line]:
        # Finding a garment's outline takes nearly all of the time, in code that frees the lock.
        # Matplotlib, which explains, draws in one thread only.
        with ThreadPoolExecutor(1 if explain else os.cpu_count()) as pool:
            hidden = len(files) == 1 or None  # None: shown on a terminal only
            for line in tqdm(pool.map(line_of, files), total=len(files), disable=hidden):
                if line.error:
                    failed.append(line)
                    print(f"fmnist: {printable(line.error)}", file=sys.stderr)
                yield line

    write(lines(), top)
    return len(failed)


def _line(predictor: Predictor, file: Path, *, top: int, explain: bool) -> Line:
    try:
        prepared, answers = predictor.predict_file(file)
    except BadInputError as error:
        return Line(str(file), error=str(error))
    if explain:
        _draw_steps(predictor, prepared, answers.probabilities[0].argmax(), file)
    ranked = [{"class": c, "probability": round(p, 4)} for c, p in answers.top(top)[0]]
    return Line(str(file), answers.names()[0], ranked, answers.alternatives()[0])


def _write_table(lines: Iterable[Line], _: int) -> None:
    """Print one line for each file that could be read, as soon as it is answered."""
    width = max(map(len, (*CLASS_NAMES, NONE_OF_THE_TEN)))
    for line in lines:
        if not line.error:
            ranked = ", ".join(f"{best['class']} {best['probability']:.0%}" for best in line.top)
            known = line.answer != NONE_OF_THE_TEN
            others = (
                f"; may be {' or '.join(line.alternatives)}" if known and line.alternatives else ""
            )
            file = printable(line.file)
            print(f"{line.answer:<{width}}  {file}  ({ranked}{others})", flush=True)


def _write_csv(lines: Iterable[Line], top: int) -> None:
    """Print a header and one row for each file, as soon as it is answered."""
    ranks = [f"{what}_{k}" for k in range(1, top + 1) for what in ("class", "probability")]
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", "answer", "error", *ranks, "alternatives"])
    for line in lines:
        ranked = [value for best in line.top for value in best.values()]
        blanks = [""] * (len(ranks) - len(ranked))
        others = ";".join(line.alternatives)
        writer.writerow([cell(line.file), line.answer, cell(line.error), *ranked, *blanks, others])
        sys.stdout.flush()


def _write_json(lines: Iterable[Line], _: int) -> None:
    """Print a list with one object for each file."""
    print(json.dumps([asdict(line) for line in lines], indent=1))


WRITERS = {"table": _write_table, "csv": _write_csv, "json": _write_json}


def _draw_steps(predictor: Predictor, prepared: Prepared, wanted: int, file: Path) -> None:
    from fmnist_utils import plots

    seen = likeliest(predictor.second.garments(prepared), 3)
    named = ", ".join(f"{name} {probability:.0%}" for name, probability in seen)
    title = f"{caption(file)}: what speaks for {CLASS_NAMES[wanted]}"
    figure = plots.photo_steps(
        *prepared[:4],
        predictor.explain(prepared.image[None], [wanted])[0],
        title=f"{title}\nThe network for photographs sees: {named}" if seen else title,
    )
    plots.save_figure(figure, drawing(file, "explained"))


def draw_similar(photo: Path, count: int, target: Path) -> dict[str, int]:
    """Draw the training images most similar to the garment on a photo, and return their classes.

    Parameters
    ----------
    photo : Path
        Of one garment.
    count : int
        How many images to find.
    target : Path
        File to draw; ends in ``.png`` or ``.svg``.

    Returns
    -------
    dict of str to int
        How many of the images are of each class, the commonest first.

    Raises
    ------
    BadInputError
        If the photo cannot be read, or count is not between 1 and 60,000.
    FailureError
        If the training images are neither here nor to be downloaded.
    """
    from fmnist_utils import plots
    from fmnist_utils.photos.catalogue import catalogue

    predictor = Predictor()
    prepared, answers = predictor.predict_file(photo)
    shelf = catalogue(predictor)
    (indices,), (similarities,) = shelf.index.search(answers.embedding, count)
    names = [CLASS_NAMES[label] for label in shelf.labels[indices]]
    found = [f"{name}\n{value:.2f}" for name, value in zip(names, similarities, strict=True)]
    images, captions = [prepared.image, *shelf.images[indices]], ["query", *found]
    figure = plots.image_grid(images, captions, columns=6, title=caption(photo))
    plots.save_figure(figure, target)
    return dict(Counter(names).most_common())
