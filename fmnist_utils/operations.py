"""What a network and its training cost in arithmetic, which no machine changes."""

import math
from collections.abc import Iterator, Mapping

import keras

from fmnist_utils import layer_graph
from fmnist_utils.recipes import Recipe

# Trainings of others: test accuracy (%), images shown in all, operations of one answer by the
# layers' shapes. ResNet-preact-20 and shake-shake-26 2x96d, with Cutout of the size that was best
# on the test set (https://github.com/hysts/pytorch_image_classification).
ELSEWHERE: Mapping[str, tuple[float, int, int]] = {
    "ResNet-20": (95.51, 200 * 60_000, 61_641_216),
    "ResNet-20, 4 x wider": (95.89, 200 * 60_000, 983_549_952),
    "shake-shake-26 2x96d": (96.40, 800 * 60_000, 5_766_050_304),
}


def forward(model: keras.Model) -> int:
    """Return the operations of one answer: multiply-adds times two, of all layers with a kernel.

    Parameters
    ----------
    model : keras.Model
        As for `layer_graph.flattened`. Activations, normalisations and pooling are not counted:
        they are a few hundredths.

    Examples
    --------
    >>> from fmnist_utils import models, operations
    >>> operations.forward(models.build("dense", {"units": [100]})) == 2 * (784 * 100 + 100 * 10)
    True

    Notes
    -----
    Introduced in notebook 11.
    """
    return sum(_by_layer(model))


def training(model: keras.Model, images: int) -> int:
    """Return the operations of a training that shows so many images, all epochs together.

    A layer costs as much again for the gradient of its kernel, and for that of its input, which
    the first one does not need.

    Parameters
    ----------
    model : keras.Model
        As for `forward`; the layers that are not trained are counted as if they were.
    images : int
        See `images_shown`.
    """
    layers = list(_by_layer(model))
    return images * (3 * sum(layers) - layers[0])


def images_shown(recipe: Recipe, n: int) -> int:
    """Return how many images a training shows, all epochs together.

    Parameters
    ----------
    recipe : Recipe
        Its selection shows every image in the first epoch, and a share of them from then on.
    n : int
        Images to train on, synthetic ones too.

    Examples
    --------
    >>> from fmnist_utils import operations, recipes
    >>> operations.images_shown(recipes.get("dense"), 55_000)  # in 20 epochs
    1100000

    Notes
    -----
    Introduced in notebook 11.
    """
    later = n if recipe.selection == 1 else max(1, round(recipe.selection * n))
    return n + (recipe.epochs - 1) * later


def _by_layer(model: keras.Model) -> Iterator[int]:
    for layer in layer_graph.flattened(model).layers:
        kernels = [w for w in layer.weights if "kernel" in w.name]
        if not kernels:
            continue
        positions = math.prod(layer.output.shape[1:-1])  # 1 where a dense layer answers
        if isinstance(layer, keras.layers.SeparableConv2D):
            yield 2 * positions * sum(math.prod(kernel.shape) for kernel in kernels)
        else:
            (kernel,) = kernels
            yield 2 * positions * math.prod(kernel.shape)
