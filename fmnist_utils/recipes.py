"""What changes a number: the frozen `Recipe` with its typed parts, and the named recipes.

A recipe is checked once, when it is made; whoever receives one need not look again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, PlainSerializer, Strict, model_validator

from fmnist_utils.data.splits import check_train_size
from fmnist_utils.errors import BadInputError, unknown
from fmnist_utils.typed_fields import Checked

# Networks of `keras.applications`, and the range of pixel values they were trained with.
BACKBONES: Mapping[str, tuple[float, float]] = {
    "MobileNet": (-1, 1),
    "MobileNetV2": (-1, 1),
    "NASNetMobile": (-1, 1),
    "Xception": (-1, 1),
    "EfficientNetB0": (0, 255),
    "EfficientNetV2B0": (0, 255),
    "MobileNetV3Small": (0, 255),
    "ConvNeXtTiny": (0, 255),
}
Backbone: TypeAlias = Literal[tuple(BACKBONES)]  # type: ignore[valid-type]  # names stand once
Share = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Strict(strict=False)]  # or a list
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(strict=False)]
Blocks = Annotated[tuple[Widths, ...], Strict(strict=False), Field(min_length=1, max_length=4)]
# Whole degrees are written without a fraction, as in the first keys.
Degrees = Annotated[float, PlainSerializer(lambda x: int(x) if x.is_integer() else x)]


class Augmentation(Checked):
    """What `fmnist_utils.augment` does at random to each training image.

    Parameters
    ----------
    shift : int
        Farthest move along each axis, in whole pixels.
    flip : {"none", "random", "alternating", "vertical"}
        Left to right by a coin for each image and epoch; or by a coin for each image in epoch 0
        and every other epoch from then on, so that two epochs show both sides of every image
        (Jordan, arXiv 2404.00498); or upside down by a coin. Flips left to right are left out for
        digits, see `fmnist_utils.augment.without_invalid_flips`.
    rotate : float
        Largest angle to either side, in degrees, at most 180.
    zoom : float
        Largest change of scale, as a share: 0.1 is a factor from 0.9 to 1.1.
    erase : int
        Side of the square, in pixels, that is set to background; its centre lies anywhere in
        the image, so part of it may lie outside (Cutout; DeVries and Taylor, arXiv 1708.04552).

    Examples
    --------
    >>> Augmentation(shift=2, flip="random").erase
    0
    """

    shift: Annotated[int, Field(ge=0, le=28)] = 0
    flip: Literal["none", "random", "alternating", "vertical"] = "none"
    rotate: Annotated[Degrees, Field(ge=0, le=180)] = 0.0
    zoom: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    erase: Annotated[int, Field(ge=0, le=28)] = 0


class DenseOptions(Checked):
    """What a fully connected network is made of.

    Parameters
    ----------
    units : sequence of int
        Width of each hidden layer; empty for softmax regression.
    dropout : float
        Share of each hidden layer's outputs that training drops.
    """

    units: Widths = (128,)
    dropout: Share = 0.0


class CNNOptions(Checked):
    """What a plain convolutional network is made of; the defaults are the classic of this field.

    Parameters
    ----------
    filters : sequence of sequence of int
        One inner sequence a block, one number a convolution in it.
    units : sequence of int
        Width of each hidden dense layer behind the convolutions; empty for none.
    dropout, dense_dropout : float
        Share of outputs that training drops after each block and each dense layer.
    batch_norm : bool
        Normalise behind each convolution, before its ReLU.
    l2 : float
        What the sum of the squares of all convolution kernels' weights adds to the loss.
    """

    filters: Blocks = ((32,), (64,))
    units: Widths = ()
    dropout: Share = 0.25
    dense_dropout: Share = 0.5
    batch_norm: bool = False
    l2: Annotated[float, Field(ge=0)] = 0.0


class ResidualOptions(Checked):
    """What a compact residual network is made of.

    Parameters
    ----------
    filters : sequence of int
        Of the stem, then of each stage; at most four stages, each halves the image.
    pool_first : bool
        Pool before normalisation and activation, which then have a quarter of the work.
    fused : bool
        Normalise with `layers.FusedBatchNormalization`, or with Keras's own layer.
    activation : {"relu", "silu"}
        ``silu`` is x times its sigmoid (Elfwing, Uchibe and Doya, arXiv 1702.03118).
    pairs : sequence of int, optional
        Residual pairs of convolutions behind the stem, then in each stage; None for one in each
        stage.
    """

    filters: Annotated[Widths, Field(min_length=1, max_length=5)]
    pool_first: bool = True
    fused: bool = True
    activation: Literal["relu", "silu"] = "relu"
    pairs: Counts | None = None

    @model_validator(mode="after")
    def _with_a_count_for_each(self) -> Self:
        if self.pairs is not None and len(self.pairs) != len(self.filters):
            raise BadInputError(
                f"pairs has a number for each of filters, which are {len(self.filters)}; received "
                f"{self.pairs}."
            )
        return self

    @property
    def n_pairs(self) -> tuple[int, ...]:
        """The number of pairs behind the stem, then in each stage."""
        return self.pairs or (0, *(1 for _ in self.filters[1:]))


class TransferOptions(Checked):
    """What a network for photographs with a new last layer is made of.

    Parameters
    ----------
    backbone : str
        A network of `keras.applications`, a key of `BACKBONES`.
    alpha : float, optional
        Width of a MobileNet; None for a backbone that has only one.
    size : int
        Side, in pixels, to which the images are enlarged.
    weights : {"imagenet"}, optional
        None for random ones. Looked for in the Keras home, and downloaded if not there.
    tuned : int, optional
        How many of the backbone's last layers are trained; None for all.
    dropout : float
        Share of the backbone's features that training drops.
    momentum : float
        Share of a normalisation's running statistics that an update keeps.
    """

    backbone: Backbone
    alpha: Annotated[float, Field(gt=0)] | None
    size: Annotated[int, Field(ge=32)] = 96
    weights: Literal["imagenet"] | None = "imagenet"
    tuned: Annotated[int, Field(ge=0)] | None = None
    dropout: Share = 0.2
    momentum: Share = 0.99


Options = DenseOptions | CNNOptions | ResidualOptions | TransferOptions
OPTIONS: Mapping[str, type[Options]] = {
    "dense": DenseOptions,
    "cnn": CNNOptions,
    "residual": ResidualOptions,
    "transfer": TransferOptions,
}


def model_options(model: object, options: Options | Mapping[str, Any]) -> Options:
    """Return a model's options, checked.

    Parameters
    ----------
    model : str
        A key of `OPTIONS`.
    options : Options or mapping
        Its options as they are, or by name.

    Raises
    ------
    BadInputError
        If the model or an option is unknown, is missing, or its value does not fit.
    """
    if not isinstance(model, str) or model not in OPTIONS:
        raise unknown("model", model, OPTIONS)
    kind = OPTIONS[model]
    if isinstance(options, kind):
        return options
    if not isinstance(options, Mapping):
        raise BadInputError(
            f"Model {model} takes {kind.__name__} or a mapping; received {options!r}."
        )
    return kind(**options)


class Recipe(Checked):
    """Everything that decides what a training comes to, and nothing else.

    Parameters
    ----------
    model : {"dense", "cnn", "residual", "transfer"}
        Which builder of `fmnist_utils.models`.
    options : Options or mapping
        What it builds, see `OPTIONS`; also as a mapping, such as ``{"filters": [32, 64]}``.
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
        Decay per update of the exponential moving average of the weights, which is validated and
        kept; 0 keeps the last weights.
    selection : float
        Share of the training images that each epoch after the first shows, most of them those with
        the largest losses so far, see `fmnist_utils.training.select`; 1 shows all.
    augmentation : Augmentation or mapping
        At random, anew in each epoch; also as a mapping, such as ``{"shift": 2}``.
    synthetic_photos : bool
        Also show each image as a photo might, and images out of distribution; whoever trains hands
        them in, see `fmnist_utils.store.get_or_train`.
    mixup : float
        Parameter of the Beta distribution of the weights with which pairs of images, and of
        labels, are mixed (Zhang et al., arXiv 1710.09412); 0 for none.
    precision : {"float32", "mixed_bfloat16", "auto"}
        Keras's dtype policy of that name; ``auto``: see `fmnist_utils.arithmetic.choose`.
    deterministic : bool
        Kernels whose results repeat bit by bit on one machine, slower; not with ``auto``.
    seed : int
        Of initial weights, order of the images and dropout.
    dataset : {"fashion_mnist", "mnist", "sketches"}
    train_size : int
        Images trained on; 55,000 is all but the 5,000 for validation, 60,000 is all.
    """

    model: str
    options: Options
    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 128
    optimizer: Literal["adam", "rmsprop", "sgd", "muon"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["constant", "step", "plateau", "cosine", "one_cycle"] = "constant"
    weight_decay: Share = 0.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    label_smoothing: Share = 0.0
    ema: Share = 0.0
    selection: Annotated[float, Field(gt=0, le=1)] = 1.0
    augmentation: Augmentation = Augmentation()
    # In files and keys it has its first name, on which hours of training hang.
    synthetic_photos: Annotated[bool, Field(serialization_alias="imitations")] = False
    mixup: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"
    deterministic: bool = False
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0  # what NumPy and Keras take
    dataset: Literal["fashion_mnist", "mnist", "sketches"] = "fashion_mnist"
    train_size: int = 55_000

    @model_validator(mode="before")
    @classmethod
    def _with_typed_options(cls, fields: dict[str, Any]) -> dict[str, Any]:
        options = model_options(fields.get("model"), fields.get("options", {}))
        return {**fields, "options": options}

    @model_validator(mode="after")
    def _whose_fields_go_together(self) -> Self:
        check_train_size(self.dataset, self.train_size)
        if self.layer_decay != 1 and self.optimizer != "adam":
            raise BadInputError(f"layer_decay goes with adam; received {self.optimizer!r}.")
        if self.deterministic and self.precision == "auto":
            raise BadInputError("With deterministic, name the precision: auto differs by machine.")
        if self.synthetic_photos and self.dataset == "mnist":
            raise BadInputError("synthetic_photos are of garments; received the dataset 'mnist'.")
        return self

    def to_json(self) -> str:
        """Return the recipe as JSON with sorted keys: equal recipes give equal text."""
        fields = self.model_dump(mode="json", by_alias=True)
        return json.dumps(fields, sort_keys=True, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Return the recipe that `to_json` wrote, also when a field had another name."""
        fields = json.loads(text)
        return cls(synthetic_photos=fields.pop("imitations", False), **fields)


def override(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with some fields changed.

    Parameters
    ----------
    recipe : Recipe
        What to start from.
    **changes
        New values by field name.

    Raises
    ------
    BadInputError
        If a field is unknown, or a value is not of its kind or range.

    Examples
    --------
    >>> override(get("dense"), options={"units": [64, 32]}).options.units
    (64, 32)

    Notes
    -----
    Introduced in notebook 10.
    """
    return Recipe(**{**dict(recipe), **changes})


# What notebook 10 found to pay, with its compact residual network.
_SHORT = Recipe(
    model="residual",
    options=ResidualOptions(filters=(16, 32, 64, 128)),
    epochs=16,
    batch_size=256,
    optimizer="muon",
    learning_rate=0.1,
    schedule="one_cycle",
    weight_decay=0.01,
    label_smoothing=0.1,
    ema=0.99,
    selection=1 / 3,
    augmentation=Augmentation(shift=2, flip="alternating", erase=8),
    precision="auto",
)

# Notebook 12: a small network that ImageNet has seen, trained on as a whole.
_TRANSFER = override(
    _SHORT,
    model="transfer",
    options=TransferOptions(backbone="MobileNet", alpha=0.25),
    epochs=24,
    batch_size=128,
    learning_rate=0.02,
    weight_decay=0.0,
    precision="float32",
)

RECIPES: Mapping[str, Recipe] = {
    # Notebook 02.
    "dense": Recipe(
        model="dense", options=DenseOptions(units=(512,)), epochs=20, schedule="cosine"
    ),
    # Notebook 04: the classic network of this field, as it is usually trained.
    "cnn": Recipe(model="cnn", options=CNNOptions(), batch_size=32),
    # Notebook 04: more layers, more filters, and a rate that falls to zero.
    "cnn_deep": Recipe(
        model="cnn",
        options=CNNOptions(filters=((32,), (64, 64), (128,)), units=(128,), dense_dropout=0.3),
        epochs=15,
        batch_size=64,
        schedule="cosine",
    ),
    # Notebook 06: a deeper plain network with its remedies, and notebook 10's optimizer.
    "regularised": override(
        _SHORT,
        model="cnn",
        options=CNNOptions(
            filters=((16, 32), (32, 32, 64), (64, 64, 128)), batch_norm=True, dropout=0.0
        ),
        epochs=20,
        augmentation=Augmentation(shift=2, flip="random", erase=8),
    ),
    "transfer": _TRANSFER,
    # Appendix E, and notebook 11: the best of many trials within three limits. In no more time
    # than Keras's `fit` takes for `cnn`;
    "fast": override(
        _SHORT,
        epochs=13,
        learning_rate=0.07,
        augmentation=Augmentation(shift=1, flip="alternating", erase=4),
    ),
    # at most 100,000 parameters, and 5e14 operations in training;
    "small": override(
        _SHORT,
        options=ResidualOptions(filters=(16, 24, 32, 46), pairs=(1, 1, 1, 1), activation="silu"),
        epochs=250,
        learning_rate=0.03,
        weight_decay=0.005,
        ema=0.998,
        train_size=60_000,
    ),
    # at most two million parameters and 2e15 operations: over an hour on two cores.
    "accurate": override(
        _SHORT,
        options=ResidualOptions(filters=(32, 64, 128, 224), pairs=(1, 2, 1, 1), activation="silu"),
        epochs=100,
        learning_rate=0.05,
        weight_decay=0.005,
        ema=0.998,
        selection=0.5,
        augmentation=Augmentation(shift=2, flip="alternating", erase=12),
        train_size=60_000,
    ),
    # Appendix D: what a search by hand began with, and what it kept.
    "short": _SHORT,
    "slim": override(
        _SHORT,
        options=ResidualOptions(filters=(16, 24, 32, 48)),
        epochs=60,
        # The more updates, the smaller the best angle of each; a quarter was too little.
        learning_rate=0.05,
        ema=0.995,
        train_size=60_000,
    ),
    "long": override(
        _SHORT,
        epochs=60,
        optimizer="sgd",
        learning_rate=0.2,
        weight_decay=0.005,
        ema=0.995,
        selection=1.0,
        augmentation=Augmentation(shift=2, flip="alternating", erase=12),
        train_size=60_000,
    ),
    # Notebook 15: for real photos; this one comes with the package.
    "photo": override(
        _TRANSFER,
        epochs=16,
        selection=0.5,
        augmentation=Augmentation(shift=2, flip="alternating", erase=6, rotate=6, zoom=0.08),
        synthetic_photos=True,
    ),
}


def get(name: str) -> Recipe:
    """Return a named recipe of the series.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.

    Raises
    ------
    BadInputError
        If there is no recipe of that name.

    Examples
    --------
    >>> get("dense").epochs
    20

    Notes
    -----
    Introduced in notebook 06.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def name_of(recipe: Recipe) -> str:
    """Return the name of the recipe most like one of the same network and images, or the model's.

    Parameters
    ----------
    recipe : Recipe
        Of the series, or a changed one.
    """

    def differences(name: str) -> int:
        return sum(value != getattr(recipe, field) for field, value in RECIPES[name])

    same = ("model", "options", "synthetic_photos")
    alike = [
        name
        for name, named in RECIPES.items()
        if all(getattr(named, field) == getattr(recipe, field) for field in same)
    ]
    return min(alike, key=differences, default=recipe.model)


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

    Examples
    --------
    >>> parse_changes(["epochs=3", "optimizer=sgd"])
    {'epochs': 3, 'optimizer': 'sgd'}
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
