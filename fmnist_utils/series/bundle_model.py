"""Make the model that comes with the package: exported, calibrated, described by its card."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_utils import __version__, calibration, data, evaluation, export, models, store
from fmnist_utils.errors import BadInputError
from fmnist_utils.files import atomic_write
from fmnist_utils.photos import clothing_dataset
from fmnist_utils.photos.predictor import Predictor

# Shares that the threshold of the energy score may turn away: of validation images, of photos of
# the ten classes among those for tuning.
_REFUSED_IMAGES, _REFUSED_PHOTOS = 0.04, 0.08
LIMITS = (
    "Sees one garment on a plain background, as grey 28x28 pixels: no colour, no material, no "
    "size. Trained on catalogue pictures of one shop from 2017, European fashion, never on photos; "
    "worn clothes, several garments, strong folds and views from above mislead it. A probability "
    "is meant for garments of the ten kinds."
)


def package(run: store.Run, name: str, folder: Path) -> dict[str, Any]:
    """Write a trained run as ``model.onnx``, ``model.keras`` and ``card.json``; return the card.

    Temperature and threshold come from validation images and the photos for tuning; the test set
    is read for the card's accuracy alone.

    Parameters
    ----------
    run : store.Run
        Trained on fewer than all images: some are left for validation.
    name : str
        Of its recipe.
    folder : Path
        Where to write.

    Raises
    ------
    BadInputError
        If the run was trained on all images, or on digits.
    """
    if run.recipe.dataset == "mnist":
        raise BadInputError("The packaged model is for garments; received the dataset 'mnist'.")
    given = data.load_training(run.recipe.dataset, train_size=run.recipe.train_size)
    if len(given.validation.labels) == 0:
        raise BadInputError(f"Recipe {name} trains on all images: set train_size=55000.")
    card = {
        "name": name,
        "version": __version__,
        "recipe": run.recipe.model_dump(mode="json"),
        "data": data.hashes(run.recipe.dataset),
        "parameters": run.metrics["parameters"],
        "limits": LIMITS,
        "temperature": 1.0,
        "energy_threshold": -np.inf,
    }
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        export.export(run.model, made / "model.onnx")
        models.fold_batch_norms(run.model).save(made / "model.keras")
        (made / "card.json").write_text(json.dumps(card), encoding="utf-8")
        card |= _measured(Predictor(made))
        (made / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        for file in made.iterdir():
            with atomic_write(folder / file.name) as unfinished:
                unfinished.write_bytes(file.read_bytes())
    return card


def _measured(raw: Predictor) -> dict[str, Any]:
    """Return temperature, threshold and accuracy of a predictor that has neither of them yet."""
    validation, test = data.load_training("fashion_mnist").validation, data.load_test()
    seen = raw.predict(validation.images)
    known = [
        photo
        for photo in clothing_dataset.load("tuning")
        if clothing_dataset.RIGHT_ANSWERS[photo.folder]
    ]
    pictured = [raw.predict_file(photo.path)[1].energy_score[0] for photo in known]
    right = raw.predict(test.images).probabilities.argmax(axis=1) == test.labels
    return {
        # Softmax undoes what the logarithm does, up to a constant that it does not see.
        "temperature": calibration.temperature(np.log(seen.probabilities), validation.labels),
        "energy_threshold": min(
            float(np.quantile(seen.energy_score, _REFUSED_IMAGES)),
            float(np.quantile(pictured, _REFUSED_PHOTOS)),
        ),
        "accuracy": {
            "test": float(right.mean()),
            "interval": evaluation.accuracy_interval(int(right.sum()), len(right)),
        },
    }
