"""Answers to files of photos, one after the other, as a table, CSV or JSON."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from fmnist_utils import images
from fmnist_utils.errors import BadInputError
from fmnist_utils.labels import CLASS_NAMES, N_CLASSES
from fmnist_utils.predictor import NONE_OF_THE_TEN, Predictor

SOME_FAILED, ALL_FAILED = 3, 2  # exit codes


@dataclass(frozen=True)
class Line:
    """What there is to say of a file.

    Parameters
    ----------
    file : str
        Its path.
    answer : str
        A class, or "none of the ten"; empty where the file could not be read.
    top : list of dict
        The likeliest classes, each ``{"class": str, "probability": float}``.
    error : str
        Why it could not be read; empty where it could.
    """

    file: str
    answer: str = ""
    top: list[dict[str, object]] = field(default_factory=list)
    error: str = ""


def answer(
    files: Sequence[Path], *, top: int, write: Callable[[Iterable[Line], int], None], explain: bool
) -> int:
    """Answer files and write the lines; return the exit code.

    Parameters
    ----------
    files : sequence of Path
        Of photos; what cannot be read is reported, and the others are answered.
    top : int
        How many classes to name.
    write : callable
        `as_table`, `as_csv` or `as_json`.
    explain : bool
        Also draw the steps and the reasons, into a PNG beside each file.

    Raises
    ------
    BadInputError
        If top is not between 1 and 10.
    """
    if not 1 <= top <= N_CLASSES:
        raise BadInputError(f"--top must lie between 1 and {N_CLASSES}; received {top}.")
    predictor = Predictor()
    n_failed = 0

    def one(file: Path) -> Line:
        try:
            prepared, answers = predictor.predict_file(file)
        except BadInputError as error:
            return Line(str(file), error=str(error))
        if explain:
            _draw(predictor, prepared, answers.probabilities[0].argmax(), file)
        ranked = [{"class": c, "probability": round(p, 4)} for c, p in answers.top(top)[0]]
        return Line(str(file), answers.names()[0], ranked)

    def lines() -> Iterator[Line]:
        nonlocal n_failed
        # The outline of a garment takes nearly all of the time, in code that frees the lock.
        with ThreadPoolExecutor(1 if explain else os.cpu_count()) as pool:
            shown = len(files) > 1 and sys.stderr.isatty()
            for line in tqdm(pool.map(one, files), total=len(files), disable=not shown):
                if line.error:
                    n_failed += 1
                    print(f"fmnist: {line.error}", file=sys.stderr)
                yield line

    write(lines(), top)
    return 0 if not n_failed else ALL_FAILED if n_failed == len(files) else SOME_FAILED


def as_table(lines: Iterable[Line], _: int) -> None:
    """Print one line a file that could be read, as soon as it is answered."""
    width = max(map(len, (*CLASS_NAMES, NONE_OF_THE_TEN)))
    for line in lines:
        if not line.error:
            ranked = ", ".join(f"{best['class']} {best['probability']:.0%}" for best in line.top)
            print(f"{line.answer:<{width}}  {line.file}  ({ranked})", flush=True)


def as_csv(lines: Iterable[Line], top: int) -> None:
    """Print one row a file, with a header, as soon as it is answered."""
    ranks = [f"{what}_{k}" for k in range(1, top + 1) for what in ("class", "probability")]
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", "answer", "error", *ranks])
    for line in lines:
        ranked = [value for best in line.top for value in best.values()]
        writer.writerow([line.file, line.answer, line.error, *ranked])
        sys.stdout.flush()


def as_json(lines: Iterable[Line], _: int) -> None:
    """Print a list with an object a file."""
    print(json.dumps([asdict(line) for line in lines], indent=1))


def _draw(predictor: Predictor, prepared: images.Prepared, wanted: int, file: Path) -> None:
    from fmnist_utils import plots, results

    figure = plots.photo_steps(
        *prepared,
        predictor.explain(prepared.image[None], [wanted])[0],
        title=f"{file.name}: what speaks for {CLASS_NAMES[wanted]}",
    )
    results.save_figure(figure, file.with_suffix(images.EXPLAINED))
