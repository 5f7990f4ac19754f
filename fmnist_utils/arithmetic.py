"""What a network trains in on this machine, which is asked by a few short convolutions.

No flag of a processor tells: with AVX512-BF16 and no AMX, bfloat16 was seen to be 1.6 times as fast
as float32 on one maker's processor, and slower than it on another's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import tensorflow as tf

from fmnist_utils.layers import conv2d, exchanging_conv2d
from fmnist_utils.recipes import Recipe

# By how much the less usual has to be faster, so that noise decides nothing.
MARGIN = 1.1
_ROUNDS = 4


@dataclass(frozen=True)
class Arithmetic:
    """What a training computes in.

    Parameters
    ----------
    precision : {"float32", "mixed_bfloat16"}
        Keras's dtype policy of that name.
    exchanged_gradients : bool
        Whether the kernels of small images get their gradients from `layers.kernel_gradient`.
    """

    precision: str
    exchanged_gradients: bool = False


@dataclass(frozen=True)
class Probe:
    """What the machine answered, in seconds a call, the shortest of a few.

    Parameters
    ----------
    float32, bfloat16 : float
        A convolution, forward and backward, in each type.
    own_gradient, exchanged_gradient : float
        One of images of 7x7 pixels, forward and backward in bfloat16, with the kernel's gradient
        as TensorFlow computes it, and from `layers.kernel_gradient`.

    Examples
    --------
    >>> asked = Probe(2.0, 1.0, own_gradient=3.0, exchanged_gradient=3.0)
    >>> asked.bfloat16_pays, asked.exchange_pays
    (True, False)
    """

    float32: float
    bfloat16: float
    own_gradient: float
    exchanged_gradient: float

    @property
    def bfloat16_pays(self) -> bool:
        """Whether bfloat16 is faster by the margin."""
        return self.float32 > MARGIN * self.bfloat16

    @property
    def exchange_pays(self) -> bool:
        """Whether exchanging images and channels is faster by the margin."""
        return self.own_gradient > MARGIN * self.exchanged_gradient


def choose(recipe: Recipe) -> Arithmetic:
    """Return what a recipe trains in, asking the machine for what the recipe leaves open.

    Parameters
    ----------
    recipe : Recipe
        With the precision ``auto`` it gets what is faster here. One that is deterministic leaves
        nothing open.

    Examples
    --------
    >>> choose(Recipe(model="dense", precision="float32")).precision
    'float32'
    """
    if recipe.precision == "float32" or recipe.deterministic:
        return Arithmetic(recipe.precision)
    asked = probe()
    if recipe.precision == "auto" and not asked.bfloat16_pays:
        return Arithmetic("float32")
    return Arithmetic("mixed_bfloat16", asked.exchange_pays)


@cache
def probe() -> Probe:
    """Ask the machine, which takes well under a second, or return what it answered before.

    Notes
    -----
    Introduced in notebook 10.

    Examples
    --------
    >>> from fmnist_utils import arithmetic
    >>> arithmetic.probe().float32 > 0
    True
    """
    medium, small = (128, 14, 14, 64), (256, 7, 7, 64)
    return Probe(
        *_shortest(_update(conv2d, medium, tf.float32), _update(conv2d, medium, tf.bfloat16)),
        *_shortest(_update(conv2d, small), _update(exchanging_conv2d, small)),
    )


def _update(
    convolve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    shape: tuple[int, ...],
    dtype: tf.DType = tf.bfloat16,
) -> Callable[[], tf.Tensor]:
    """Return what training does with a convolution: forward, and both gradients at a time."""
    images, kernel = tf.ones(shape, dtype), tf.ones((3, 3, shape[-1], 64), dtype)

    def forward_and_backward() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch((images, kernel))
            given = convolve(images, kernel)
        gradients = tape.gradient(given, (images, kernel))
        return tf.add_n([tf.cast(gradient[0, 0, 0, 0], tf.float32) for gradient in gradients])

    function: Callable[[], tf.Tensor] = tf.function(forward_and_backward, jit_compile=False)
    return function


def _shortest(*calls: Callable[[], tf.Tensor]) -> list[float]:
    """Return the shortest time of each call, in seconds; they take turns."""

    def seconds(call: Callable[[], tf.Tensor]) -> float:
        start = time.perf_counter()
        float(call())  # waits for it, on a GPU too
        return time.perf_counter() - start

    rounds = [[seconds(call) for call in calls] for _ in range(_ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


@cache
def tell() -> None:
    """Print what the machine answered, once a process."""
    asked = probe()
    print(
        f"Asked this machine: in bfloat16 a convolution is {asked.float32 / asked.bfloat16:.1f} "
        "times as fast as in float32, and one of a small image "
        f"{asked.own_gradient / asked.exchanged_gradient:.1f} times as fast with its kernel's "
        "gradient exchanged as without."
    )
