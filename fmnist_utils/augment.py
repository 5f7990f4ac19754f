"""Random transformations of training images: one draw for each image, vectorised, on a CPU.

All that happens to an image in an epoch follows from the seed, the epoch and the image's place in
the training set, whatever batch it lands in: `draw` draws it for the whole epoch at once, `apply`
does it to a batch.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_utils.classes import IMAGE_SHAPE, OOD
from fmnist_utils.recipes import Augmentation


class Draw(NamedTuple):
    """What happens to each of n images.

    Parameters
    ----------
    transforms : tensor of shape (n, 8), float32
        Of output pixels to input pixels, as ``ImageProjectiveTransformV3`` takes them.
    boxes : tensor of shape (n, 4), float32
        Top, bottom, left and right of what is erased; bottom and right are not part of it.
    """

    transforms: tf.Tensor
    boxes: tf.Tensor


def draw(n: int, augmentation: Augmentation, *, seed: int, epoch: int | tf.Tensor) -> Draw:
    """Return an epoch's transformation of each image.

    Parameters
    ----------
    n : int
        Images in the training set.
    augmentation : Augmentation
        What may happen to them.
    seed : int
        Same seed, same epoch: same draws.
    epoch : int or integer tensor
        From 0.

    Examples
    --------
    >>> drawn = draw(3, Augmentation(shift=2), seed=0, epoch=0)
    >>> drawn.transforms.shape, drawn.boxes.shape
    (TensorShape([3, 8]), TensorShape([3, 4]))
    """
    flip, erase = augmentation.flip, augmentation.erase
    epoch = tf.cast(epoch, tf.int32)
    # One column of random numbers in [0, 1) a decision.
    columns = tf.random.stateless_uniform((7, n), seed=tf.stack([seed, epoch]))
    side, *moves, angle, scale, top, left = tf.unstack(columns)
    side = tf.round(side)
    if flip == "alternating":
        first = tf.random.stateless_uniform((n,), seed=(seed, -1))
        side = tf.cast((tf.cast(first < 0.5, tf.int32) + epoch) % 2, tf.float32)
    across = 1 - 2 * side if flip in ("random", "alternating") else tf.ones(n)
    down = 1 - 2 * side if flip == "vertical" else tf.ones(n)
    dx, dy = (tf.floor(move * (2 * augmentation.shift + 1)) - augmentation.shift for move in moves)
    radians = (2 * angle - 1) * (augmentation.rotate * 3.141592653589793 / 180)
    scale = 1 + (2 * scale - 1) * augmentation.zoom
    cos, sin = tf.cos(radians) / scale, tf.sin(radians) / scale
    a, b, c, d = across * cos, across * sin, -down * sin, down * cos
    y0, x0 = ((size - 1) / 2 for size in IMAGE_SHAPE)
    zeros = tf.zeros(n)
    transforms = [
        *(a, b, x0 - a * (x0 + dx) - b * (y0 + dy)),
        *(c, d, y0 - c * (x0 + dx) - d * (y0 + dy)),
        *(zeros, zeros),
    ]
    top = tf.floor(top * IMAGE_SHAPE[0]) - erase // 2
    left = tf.floor(left * IMAGE_SHAPE[1]) - erase // 2
    boxes = [top, top + erase, left, left + erase]
    return Draw(tf.stack(transforms, axis=1), tf.stack(boxes, axis=1))


def apply(images: tf.Tensor, drawn: Draw) -> tf.Tensor:
    """Return the images as drawn, uint8 of shape (n, 28, 28).

    Parameters
    ----------
    images : tensor of shape (n, 28, 28), uint8
        As published; what comes in from outside the image is background.
    drawn : Draw
        One row an image.

    Examples
    --------
    >>> images = tf.ones((3, 28, 28), tf.uint8)
    >>> drawn = draw(3, Augmentation(erase=28), seed=0, epoch=0)
    >>> bool(tf.reduce_all(apply(images, drawn) == 1))
    False
    """
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images[..., tf.newaxis],
        transforms=drawn.transforms,
        output_shape=IMAGE_SHAPE,
        fill_value=0.0,
        interpolation="BILINEAR",  # exact where pixels fall on pixels
    )[..., 0]
    top, bottom, left, right = tf.split(drawn.boxes, 4, axis=1)
    y, x = (tf.range(size, dtype=tf.float32) for size in IMAGE_SHAPE)
    rows = tf.cast((y >= top) & (y < bottom), tf.uint8)
    columns = tf.cast((x >= left) & (x < right), tf.uint8)
    return moved * (1 - rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :])


def without_invalid_flips(
    augmentation: Augmentation, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> Augmentation:
    """Return the augmentation, without the flip left to right if that makes images of no class.

    A garment's mirror image is a garment, a digit's is no digit. It shows in each class's mean
    image and its mirror image: the share of the light in which they differ, median over the
    classes, is 0.04 for Fashion-MNIST and 0.25 for MNIST. Above 0.2 nothing is flipped.

    Parameters
    ----------
    augmentation : Augmentation
        As a recipe has it.
    images : ndarray of shape (n, 28, 28), uint8
        The training images.
    labels : ndarray of shape (n,), integer
        Their classes; `classes.OOD` counts for nothing.

    Examples
    --------
    >>> lopsided = np.zeros((1, 28, 28), np.uint8)
    >>> lopsided[:, :, :5] = 255
    >>> without_invalid_flips(Augmentation(flip="random"), lopsided, np.array([7])).flip
    'none'
    """
    means = [images[labels == c].mean(axis=0) for c in np.unique(labels[labels != OOD])]
    differing = [np.abs(mean - mean[:, ::-1]).sum() / max(2 * mean.sum(), 1) for mean in means]
    across = augmentation.flip in ("random", "alternating")
    if across and np.median(differing) > 0.2:
        return augmentation.model_copy(update={"flip": "none"})
    return augmentation


def mix(
    images: tf.Tensor, labels: tf.Tensor, *, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each image mixed with the next of its batch, and the labels in the same shares.

    Parameters
    ----------
    images : tensor of shape (n, 28, 28), uint8
        In an order that means nothing; the last is mixed with the first.
    labels : tensor of shape (n, 10), float32
        One-hot.
    alpha : float
        The share of an image is drawn from Beta(alpha, alpha), one draw an image: about 1, half
        to half is as likely as not at all; far below 1, most images stay nearly as they are.
    seed : integer tensor of shape (2,)
        What is drawn follows from it.

    Returns
    -------
    tuple
        Images, uint8, rounded; labels, float32, each row sums to one.

    Examples
    --------
    >>> images = tf.ones((2, 28, 28), tf.uint8)
    >>> _, labels = mix(images, tf.eye(2, 10), alpha=1.0, seed=tf.constant([0, 0]))
    >>> labels.numpy().sum(axis=1).tolist()
    [1.0, 1.0]

    Notes
    -----
    Mixup (Zhang et al., arXiv 1710.09412).
    """
    n = tf.shape(images)[0]
    both = tf.random.stateless_gamma((2, n), seed=seed, alpha=tf.fill((2, n), alpha))
    share = both[0] / tf.maximum(both[0] + both[1], 1e-30)

    def mixed(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        values = tf.cast(values, tf.float32)
        return share * values + (1 - share) * tf.roll(values, -1, axis=0)

    pixels = mixed(images, share[:, tf.newaxis, tf.newaxis])
    return tf.cast(tf.round(pixels), tf.uint8), mixed(labels, share[:, tf.newaxis])
