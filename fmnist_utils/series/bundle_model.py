"""Make the model that comes with the package: exported, calibrated, described by its card."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_utils import __version__, calibration, data, evaluation, export, models, store
from fmnist_utils.errors import BadInputError
from fmnist_utils.files import atomic_write
from fmnist_utils.photos import clothing_dataset
from fmnist_utils.photos.predictor import NUMBERS, Predictor

# Shares that the thresholds of the energy score may turn away: of validation images; of photos of
# the ten classes among those for tuning, without a second opinion and with it.
_REFUSED_IMAGES, _REFUSED_UNAIDED, _REFUSED_PHOTOS = 0.04, 0.08, 0.12
_RULED_OUT = 0.1  # share of right answers that may be ruled out
LIMITS = (
    "Sees one garment on a plain background, as grey 28x28 pixels: no material, no size. Trained "
    "on catalogue pictures of one shop from 2017, European fashion, never on photos; a network for "
    "photographs in general gives a second opinion. Worn clothes, several garments, strong folds "
    "and views from above mislead both. A probability is meant for garments of the ten kinds."
)


def package(run: store.Run, of_images: store.Run, name: str, folder: Path) -> dict[str, Any]:
    """Write two trained runs as a `Predictor` reads them; return the card.

    Temperatures and thresholds come from validation images and the photos for tuning; the test set
    is read for the card's accuracy alone.

    Parameters
    ----------
    run : store.Run
        Trained on fewer than all images: some are left for validation.
    of_images : store.Run
        Trained on the same images, and on no synthetic photos.
    name : str
        Of the first run's recipe.
    folder : Path
        Where to write.

    Raises
    ------
    BadInputError
        If the run was trained on all images, or on digits.
    """
    if "mnist" in (run.recipe.dataset, of_images.recipe.dataset):
        raise BadInputError("The packaged model is for garments; received the dataset 'mnist'.")
    given = data.load_training(run.recipe.dataset, train_size=run.recipe.train_size)
    if len(given.validation.labels) == 0:  # the second's are as many, see the command
        raise BadInputError(f"Recipe {name} trains on all images: set train_size=55000.")
    card = {
        "name": name,
        "version": __version__,
        "recipe": run.recipe.model_dump(mode="json"),
        "images_recipe": of_images.recipe.model_dump(mode="json"),
        "data": data.hashes(run.recipe.dataset),
        "parameters": run.metrics["parameters"] + of_images.metrics["parameters"],
        "limits": LIMITS,
        **dict.fromkeys(NUMBERS, 1.0),
        **_temperatures(run, of_images, given.validation),
    }
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        export.export(run.model, made / "model.onnx")
        export.export(of_images.model, made / "images.onnx")
        models.fold_batch_norms(run.model).save(made / "model.keras")
        (made / "card.json").write_text(json.dumps(card), encoding="utf-8")
        card |= _measured(made)
        (made / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        for file in made.iterdir():
            with atomic_write(folder / file.name) as unfinished:
                unfinished.write_bytes(file.read_bytes())
    return card


def _temperatures(run: store.Run, of_images: store.Run, held: data.Labelled) -> dict[str, float]:
    # Softmax undoes what the logarithm does, up to a constant that it does not see.
    first, second = (np.log(one.predict(held.images)) for one in (run, of_images))
    return {
        "temperature": calibration.temperature(first, held.labels),
        "images_temperature": calibration.temperature((first + second) / 2, held.labels),
    }


def _measured(folder: Path) -> dict[str, Any]:
    """Return the thresholds of a predictor that has none of its own yet, and its accuracy."""
    validation, test = data.load_training("fashion_mnist").validation, data.load_test()
    photos = [photo for photo in clothing_dataset.load("tuning") if photo.judged]
    predictor, alone = Predictor(folder), Predictor(folder, alone=True)
    images = predictor.predict(validation.images)
    pictured = [predictor.predict_file(photo.path)[1] for photo in photos]
    unaided = [alone.predict_file(photo.path)[1].energy_score[0] for photo in photos]
    return {
        "energy_threshold": min(
            float(np.quantile(images.energy_score, _REFUSED_IMAGES)),
            float(np.quantile(unaided, _REFUSED_UNAIDED)),
        ),
        "photo_energy_threshold": float(
            np.quantile([answers.energy_score[0] for answers in pictured], _REFUSED_PHOTOS)
        ),
        "open_threshold": _conformal(
            images.probabilities[np.arange(len(validation.labels)), validation.labels]
        ),
        "photo_open_threshold": _conformal(
            answers.probabilities[0, list(photo.judged)].max()
            for photo, answers in zip(photos, pictured, strict=True)
        ),
        "accuracy": _accuracy(predictor, test),
        "accuracy_alone": _accuracy(alone, test),
    }


def _accuracy(predictor: Predictor, test: data.Labelled) -> dict[str, Any]:
    right = predictor.predict(test.images).probabilities.argmax(axis=1) == test.labels
    interval = evaluation.accuracy_interval(int(right.sum()), len(right))
    return {"test": float(right.mean()), "interval": interval}


def _conformal(right_probabilities: Iterable[float]) -> float:
    """Return the probability that all but `_RULED_OUT` of the right answers reach.

    Split conformal prediction with a correction for how few there are (Angelopoulos and Bates,
    arXiv 2107.07511).
    """
    ordered = sorted(map(float, right_probabilities))
    rank = int(np.floor(_RULED_OUT * (len(ordered) + 1)))
    return ordered[rank - 1] if rank else 0.0
