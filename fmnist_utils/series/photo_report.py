"""What the packaged model says of real photos, by folder and by what two judgements say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest
from tqdm import tqdm

from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.evaluation import accuracy_interval
from fmnist_utils.photos import clothing_dataset, prepare
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.series.pages import markdown_table

PUBLISHED = "photos.csv"
SUMMARY = ("**the ten classes**", "shoes", "**none of the ten**")
SYSTEMS = {"first network alone": True, "with the second opinion": False}


def ask(folder: Path | None = None) -> pd.DataFrame:
    """Return the answers to the photos for measuring, by the first network alone and by both.

    Parameters
    ----------
    folder : Path, optional
        Of the model; by default that of the package.

    Returns
    -------
    DataFrame
        A row a photo and system: ``path``, ``folder``, ``system``, ``answer``, ``by_folder`` and
        ``by_judgement`` (whether the answer is right; empty where none of the ten is), ``known``,
        and ``open``, whether a judgement's answer is among those that are not ruled out.
    """
    predictors = {name: Predictor(folder, alone=alone) for name, alone in SYSTEMS.items()}
    rows = []
    for photo in tqdm(clothing_dataset.load("measuring"), unit="photo", disable=None):
        prepared = prepare.to_image(prepare.read(photo.path))
        for system, predictor in predictors.items():
            answers = predictor.predict_photos([prepared])
            answer = int(answers.probabilities[0].argmax())
            by_folder = clothing_dataset.RIGHT_ANSWERS[photo.folder]
            rows.append(
                {
                    "path": "/".join(photo.path.parts[-2:]),
                    "folder": photo.folder,
                    "system": system,
                    "answer": CLASS_NAMES[answer],
                    "by_folder": answer in by_folder if by_folder else None,
                    "by_judgement": answer in photo.judged if photo.judged else None,
                    "known": bool(answers.known[0]),
                    "open": bool(answers.open[0, list(photo.judged)].any())
                    if photo.judged
                    else None,
                }
            )
    return pd.DataFrame(rows)


def table(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of right, accepted and refused photos, a row a folder and system.

    Parameters
    ----------
    answers : DataFrame
        From `ask`.
    """
    garments = [name for name, right in clothing_dataset.RIGHT_ANSWERS.items() if right]
    others = [name for name, right in clothing_dataset.RIGHT_ANSWERS.items() if not right]
    groups = {name: [name] for name in clothing_dataset.RIGHT_ANSWERS}
    groups |= {"**the ten classes**": garments, "**none of the ten**": others}
    rows = []
    for group, folders in groups.items():
        for system in SYSTEMS:
            chosen = answers[(answers["system"] == system) & answers["folder"].isin(folders)]
            accepted = chosen[chosen["known"]]
            rows.append(
                {
                    "photos of": group,
                    "system": system,
                    "right by folder": _share(chosen["by_folder"]),
                    "right by judgement": _share(chosen["by_judgement"]),
                    "accepted": _share(chosen["known"]),
                    "right of the accepted, by folder": _share(accepted["by_folder"]),
                    "by judgement": _share(accepted["by_judgement"]),
                    "an open class is right": _share(chosen["open"]),
                }
            )
    return pd.DataFrame(rows)


def _share(values: "pd.Series[Any]") -> str:
    values = values.dropna()
    if values.empty:
        return "–"
    right, n = int(values.sum()), len(values)
    low, high = accuracy_interval(right, n)
    return f"{right} of {n}: {right / n:.2f} ({low:.2f} to {high:.2f})"


def paired(answers: pd.DataFrame) -> Mapping[str, str]:
    """Return, for each way to tell what is right, how the systems differ, and McNemar's p-value.

    Parameters
    ----------
    answers : DataFrame
        From `ask`.
    """
    told = {}
    for way in ("by_folder", "by_judgement"):
        both = answers.dropna(subset=[way]).pivot(index="path", columns="system", values=way)
        alone, helped = (both[system].astype(bool) for system in SYSTEMS)
        better, worse = int((helped & ~alone).sum()), int((alone & ~helped).sum())
        p = binomtest(better, better + worse).pvalue if better + worse else 1.0
        told[way] = f"{better} become right and {worse} wrong, p = {p:.2g} (exact, two-sided)"
    return told


def text(answers: pd.DataFrame) -> str:
    """Return the whole report, in Markdown.

    Parameters
    ----------
    answers : DataFrame
        From `ask`.
    """
    helped = answers[answers["system"] == list(SYSTEMS)[-1]]
    mistakes = helped[helped["by_judgement"].eq(False)]
    wrong = [f"- {photo.path}: {photo.answer}" for photo in mistakes.itertuples()]
    differences = [f"{way.replace('_', ' ')}: {told}." for way, told in paired(answers).items()]
    return "\n".join(
        [markdown_table(table(answers)), "", *differences, "", "Wrong by judgement:", *wrong]
    )
