"""What changes a number: the frozen `Recipe`, the named recipes of the series, the profiles."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fmnist_utils.errors import BadInputError, unknown

Profile = Literal["smoke", "quick", "full"]
PROFILES: tuple[Profile, ...] = get_args(Profile)


_KINDS: dict[type, tuple[type | tuple[type, ...], str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
    str: (str, "a name"),
}
_OPTIONS = (Mapping, "a mapping of arguments")
_SHARES = ("weight_decay", "label_smoothing", "ema")
_LARGEST_SEED = 2**32 - 1  # what NumPy and Keras take
_LOWER_BOUNDS = {"epochs": 1, "batch_size": 1, "seed": 0, "train_size": 10}


def _check(name: str, kind: Any, value: object) -> None:
    """Raise BadInputError unless a field's value is of its kind and range."""
    if typing.get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown(name, value, get_args(kind))
        return
    accepted, expected = _KINDS.get(kind, _OPTIONS)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise BadInputError(f"Recipe field {name} takes {expected}; received {value!r}.")
    if name == "learning_rate" and not 0 < typing.cast(float, value) < float("inf"):
        raise BadInputError(f"learning_rate must be a finite number above 0; received {value!r}.")
    if name in ("selection", "layer_decay") and not 0 < typing.cast(float, value) <= 1:
        raise BadInputError(f"{name} must be above 0 and at most 1; received {value!r}.")
    if name == "mixup" and not 0 <= typing.cast(float, value) < float("inf"):
        raise BadInputError(f"mixup must be a finite number, 0 or above; received {value!r}.")
    if name in _SHARES and not 0 <= typing.cast(float, value) < 1:
        raise BadInputError(f"{name} must be at least 0 and below 1; received {value!r}.")
    if name == "seed" and typing.cast(int, value) > _LARGEST_SEED:
        raise BadInputError(f"seed must be at most {_LARGEST_SEED}; received {value!r}.")
    lowest = _LOWER_BOUNDS.get(name)
    if lowest is not None and typing.cast(int, value) < lowest:
        raise BadInputError(f"{name} must be at least {lowest}; received {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training comes to, and nothing else.

    Parameters
    ----------
    model : str
        Name of a builder in `fmnist_utils.models.MODELS`.
    options : mapping
        Arguments of that builder, such as ``{"filters": [32, 64]}``.
    epochs, batch_size : int
        Passes over the training images, and images an update.
    optimizer : {"adam", "rmsprop", "sgd", "muon"}
        ``sgd`` is with Nesterov momentum 0.9; ``muon`` is `fmnist_utils.optimizers.Muon`.
    learning_rate : float
        The schedule's highest.
    schedule : {"constant", "step", "plateau", "cosine", "one_cycle"}
        ``step`` falls to a tenth after half of the updates and again after three quarters;
        ``plateau`` halves whenever two epochs have not improved the validation loss; ``cosine``
        falls to zero at the last update (Loshchilov and Hutter, arXiv 1608.03983); ``one_cycle``
        first rises from a tenth over a quarter of the updates (Smith and Topin, arXiv 1708.07120).
    weight_decay : float
        Share of each kernel that an update takes off, times the learning rate (decoupled;
        Loshchilov and Hutter, arXiv 1711.05101). Under ``muon`` it shrinks only the kernels that
        are not scaled back to their norm.
    layer_decay : float
        Factor from each layer's learning rate to that of the layer before it; only with ``adam``,
        see `fmnist_utils.optimizers.LayerwiseAdam`.
    label_smoothing : float
        Share of a label's probability that is spread over all classes.
    ema : float
        Decay an update of the running average of the weights that validates and is kept; 0 keeps
        the last weights.
    selection : float
        Share of the training images that each epoch after the first shows, most of them those with
        the largest losses so far, see `fmnist_utils.training.select`; 1 shows all.
    augmentation : mapping
        Arguments of `fmnist_utils.augment.draw`, such as ``{"shift": 2}``; empty for none. Flips
        left to right are left out for digits, see `fmnist_utils.augment.without_invalid_flips`.
    synthetic_photos : bool
        Also show each image as a photo might, and images out of distribution; whoever trains hands
        them in, see `fmnist_utils.store.get_or_train`.
    mixup : float
        Parameter of the Beta distribution of the weights with which pairs of images, and of
        labels, are mixed (Zhang et al., arXiv 1710.09412); 0 for none.
    precision : {"float32", "mixed_bfloat16", "auto"}
        Keras's dtype policy of that name; ``auto`` is bfloat16 where the processor computes in it
        and float32 elsewhere.
    deterministic : bool
        Kernels whose results repeat bit by bit on one machine, at some cost in speed.
    seed : int
        Of initial weights, order of the images and dropout.
    dataset : {"fashion_mnist", "mnist", "sketches"}
        Where the images come from.
    train_size : int
        Images trained on; 55,000 is all but the 5,000 for validation, 60,000 is all.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 128
    optimizer: Literal["adam", "rmsprop", "sgd", "muon"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "step", "plateau", "cosine", "one_cycle"] = "constant"
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    ema: float = 0.0
    selection: float = 1.0
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    synthetic_photos: bool = False
    mixup: float = 0.0
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"
    deterministic: bool = False
    seed: int = 0
    dataset: Literal["fashion_mnist", "mnist", "sketches"] = "fashion_mnist"
    train_size: int = 55_000

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(Recipe).items():
            _check(name, kind, getattr(self, name))
            if kind is float:  # 1 and 1.0 are the same recipe, with the same key
                object.__setattr__(self, name, float(getattr(self, name)))
        if self.layer_decay != 1 and self.optimizer != "adam":
            raise BadInputError(
                f"layer_decay goes with the optimizer adam; received {self.optimizer!r}."
            )
        if self.synthetic_photos and self.dataset == "mnist":
            raise BadInputError("synthetic_photos are of garments; received the dataset 'mnist'.")

    def to_json(self) -> str:
        """Return the recipe as JSON with sorted keys: equal recipes give equal text."""
        fields = dataclasses.asdict(self)
        fields["imitations"] = fields.pop("synthetic_photos")
        return json.dumps(fields, sort_keys=True, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Return the recipe that `to_json` wrote."""
        fields = json.loads(text)
        fields["synthetic_photos"] = fields.pop("imitations", False)
        return cls(**fields)


# What notebook 10 found to pay, with its compact residual network.
_FAST = Recipe(
    model="residual",
    options={"filters": [16, 32, 64, 128]},
    epochs=16,
    batch_size=256,
    optimizer="muon",
    learning_rate=0.1,
    schedule="one_cycle",
    weight_decay=0.01,
    label_smoothing=0.1,
    ema=0.99,
    selection=1 / 3,
    augmentation={"shift": 2, "flip": "alternating", "erase": 8},
    precision="auto",
)

# Notebook 07: a small network that ImageNet has seen, trained on as a whole.
_TRANSFER = dataclasses.replace(
    _FAST,
    model="transfer",
    options={"backbone": "MobileNet", "alpha": 0.25},
    epochs=24,
    batch_size=128,
    learning_rate=0.02,
    weight_decay=0.0,
    precision="float32",
)

RECIPES = types.MappingProxyType(
    {
        # Notebook 02.
        "dense": Recipe(model="dense", options={"units": [512]}, epochs=20, schedule="cosine"),
        # Notebook 03: the classic network of this field, as it is usually trained.
        "cnn": Recipe(model="cnn", batch_size=32),
        # Notebook 03: more layers, more filters, and a rate that falls to zero.
        "cnn_deep": Recipe(
            model="cnn",
            options={
                "filters": [[32], [64, 64], [128]],
                "units": [128],
                "dense_dropout": 0.3,
            },
            epochs=15,
            batch_size=64,
            schedule="cosine",
        ),
        # Notebook 04: a deeper plain network with its remedies, and notebook 10's optimizer.
        "regularised": dataclasses.replace(
            _FAST,
            model="cnn",
            options={
                "filters": [[16, 32], [32, 32, 64], [64, 64, 128]],
                "batch_norm": True,
                "dropout": 0.0,
            },
            epochs=20,
            augmentation={"shift": 2, "flip": "random", "erase": 8},
        ),
        "transfer": _TRANSFER,
        # Notebook 10: minutes.
        "fast": _FAST,
        # Notebook 10: at most 100,000 parameters, and on everything that is published to train on.
        "small": dataclasses.replace(
            _FAST,
            options={"filters": [16, 24, 32, 48]},
            epochs=60,
            # The more updates, the smaller the best angle of each; a quarter was too little.
            learning_rate=0.05,
            ema=0.995,
            train_size=60_000,
        ),
        # Notebook 10: what an hour on two cores comes to. Shown often, the hardest half of the
        # images would be learned with its wrong labels; all of them are not.
        "accurate": dataclasses.replace(
            _FAST,
            epochs=60,
            optimizer="sgd",
            learning_rate=0.2,
            weight_decay=0.005,
            ema=0.995,
            selection=1.0,
            augmentation={"shift": 2, "flip": "alternating", "erase": 12},
            train_size=60_000,
        ),
        # Notebook 11: for real photos; this one comes with the package.
        "photo": dataclasses.replace(
            _TRANSFER,
            epochs=16,
            selection=0.5,
            augmentation={
                "shift": 2,
                "flip": "alternating",
                "erase": 6,
                "rotate": 6,
                "zoom": 0.08,
            },
            synthetic_photos=True,
        ),
    }
)


# The notebook that tells of each recipe.
TAUGHT_IN = types.MappingProxyType(
    {
        "dense": "02_dense",
        "cnn": "03_cnn",
        "cnn_deep": "03_cnn",
        "regularised": "04_regularisation",
        "transfer": "07_transfer",
        "fast": "10_fast_and_accurate",
        "small": "10_fast_and_accurate",
        "accurate": "10_fast_and_accurate",
        "photo": "11_deployment",
    }
)


def get(name: str) -> Recipe:
    """Return a named recipe of the series.

    Raises
    ------
    BadInputError
        If there is no recipe of that name.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def name_of(recipe: Recipe) -> str:
    """Return the name of the recipe most like it of the same network and images, or the model's."""

    def told_by(one: Recipe) -> tuple[Any, ...]:
        return one.model, one.options, one.synthetic_photos

    def differences(name: str) -> int:
        named = dataclasses.asdict(RECIPES[name])
        return sum(named[key] != value for key, value in dataclasses.asdict(recipe).items())

    alike = [name for name, named in RECIPES.items() if told_by(named) == told_by(recipe)]
    return min(alike, key=differences, default=recipe.model)


def override(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with some fields changed.

    Parameters
    ----------
    recipe : Recipe
        The recipe to start from; it stays as it is.
    **changes
        New values by field name.

    Raises
    ------
    BadInputError
        If a field is unknown, or a value is not of its kind or range.
    """
    fields = [f.name for f in dataclasses.fields(Recipe)]
    for name in changes:
        if name not in fields:
            raise unknown("recipe field", name, fields)
    return dataclasses.replace(recipe, **changes)


def parse_changes(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the changes that ``field=value`` texts ask for.

    Parameters
    ----------
    assignments : sequence of str
        Such as ``["epochs=3", "optimizer=sgd", 'options={"units": [64]}']``; a value is read as
        JSON, and as plain text where it is none.

    Raises
    ------
    BadInputError
        If a text has no ``=``.
    """
    changes = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise BadInputError(f"{assignment!r} is not of the form field=value, as in epochs=3.")
        try:
            changes[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            changes[name.strip()] = value
    return changes


def for_profile(recipe: Recipe, profile: str) -> Recipe:
    """Return the recipe cut down to a profile.

    Parameters
    ----------
    recipe : Recipe
        The recipe as it is meant.
    profile : {"smoke", "quick", "full"}
        ``smoke``: 2,000 images, one epoch: does it run? ``quick``: all images, at most three
        epochs. ``full``: the recipe itself.
    """
    check_profile(profile)
    if profile == "smoke":
        return override(recipe, epochs=1, train_size=min(recipe.train_size, 2_000))
    if profile == "quick":
        return override(recipe, epochs=min(recipe.epochs, 3))
    return recipe


def check_profile(profile: str) -> None:
    """Raise BadInputError unless the profile is one of `PROFILES`."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
