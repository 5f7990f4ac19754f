"""Layers that Keras does not have, or has slow."""

from typing import Any

import keras
import tensorflow as tf

# Pixels of an image up to which exchanging its kernel's gradient was seen to be faster: 7 x 7. On
# images of 14 x 14 it takes as long, or longer.
SMALL = 49


@keras.saving.register_keras_serializable("fmnist_utils")
class Conv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Keras's Conv2D, whose kernel's gradient can be computed with images and channels exchanged.

    Same arguments, same weights, same answers; gradients are the same within rounding. Only where
    `exchanges` is set, as `training.compiled_model` does where the machine is faster so, and where
    `can_exchange`, is anything computed otherwise.

    Parameters
    ----------
    *args, **kwargs
        As in `keras.layers.Conv2D`.

    Attributes
    ----------
    exchanges : bool
        Whether to compute the kernel's gradient by `kernel_gradient`. It is no part of the layer's
        configuration, so a saved model does not carry one machine's answer to another.

    Examples
    --------
    >>> layer = Conv2D(4, 3, padding="same")
    >>> layer(keras.Input((7, 7, 3))).shape, layer.can_exchange
    ((None, 7, 7, 4), True)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exchanges = False

    @property
    def can_exchange(self) -> bool:
        """Whether it keeps the size of a small image: stride 1, no dilation, no groups."""
        height, width = self.input.shape[1:3]
        return bool(
            height * width <= SMALL
            and self.padding == "same"
            and self.strides == self.dilation_rate == (1, 1)
            and self.groups == 1
            and self.data_format == "channels_last"
        )

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Return the convolution, as Keras calls it."""
        if self.exchanges:
            return exchanging_conv2d(inputs, tf.convert_to_tensor(kernel))
        return super().convolution_op(inputs, kernel)


def conv2d(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return a convolution of stride 1 and padding "same".

    Parameters
    ----------
    images : tensor of shape (n, height, width, channels)
        What it reads.
    kernel : tensor of shape (kernel height, kernel width, channels, filters)
        Of the same dtype.
    """
    return tf.nn.conv2d(images, kernel, 1, "SAME")


@tf.custom_gradient  # type: ignore[untyped-decorator]
def exchanging_conv2d(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Return what `conv2d` does, whose kernel gets its gradient from `kernel_gradient`.

    Parameters
    ----------
    images, kernel : tensor
        As in `conv2d`.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        to_images = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(images),
            filter=kernel,
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        return to_images, kernel_gradient(images, upstream, kernel.shape[:2])

    return conv2d(images, kernel), gradient


def kernel_gradient(
    images: tf.Tensor, upstream: tf.Tensor, size: tf.TensorShape | tuple[int, int]
) -> tf.Tensor:
    """Return the gradient of a kernel, of shape (*size, channels, filters), as a convolution.

    A weight's gradient is a sum, over all images and pixels, of what the weight read times the
    loss's gradient by what came of it. That is a convolution again: the images, with those
    gradients for a kernel as large as an image, and with the images in the role of the channels,
    over which a convolution sums. A batch of small images is many channels of few pixels, and a
    forward convolution of many channels is what libraries compute fastest.

    Parameters
    ----------
    images : tensor of shape (n, height, width, channels)
        What the convolution read; it is one of stride 1 and padding "same".
    upstream : tensor of shape (n, height, width, filters)
        The loss's gradient by what it gave.
    size : pair of int
        The kernel's height and width.
    """
    around = [((k - 1) // 2, k // 2) for k in size]  # TensorFlow's padding "same"
    exchanged = tf.pad(tf.transpose(images, (3, 1, 2, 0)), [(0, 0), *around, (0, 0)])
    as_kernel = tf.transpose(upstream, (1, 2, 0, 3))
    return tf.transpose(tf.nn.conv2d(exchanged, as_kernel, 1, "VALID"), (1, 2, 0, 3))


@keras.saving.register_keras_serializable("fmnist_utils")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras's BatchNormalization, computed by TensorFlow's fused kernel.

    Same arguments, same weights in the same order, same result within rounding. Keras computes
    mean, variance and scaling as separate passes over the activations, in float32 whatever the
    policy; the fused kernel reads them twice, and takes bfloat16 activations beside float32
    statistics as they are. What the kernel cannot do (another axis than the last, no scale or
    centre, masks, renormalisation, statistics of several replicas, float64, inputs that are not
    images) goes Keras's way.

    Parameters
    ----------
    **kwargs
        As in `keras.layers.BatchNormalization`.

    Examples
    --------
    >>> activations = tf.random.stateless_normal((8, 4, 4, 2), seed=(0, 0), mean=5.0)
    >>> normalised = FusedBatchNormalization()(activations, training=True)
    >>> bool(tf.abs(tf.reduce_mean(normalised)) < 1e-4)
    True

    Notes
    -----
    Introduced in notebook 10.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the normalised inputs, of their shape, in the layer's compute dtype.

        Parameters
        ----------
        inputs : tensor of shape (n, height, width, channels)
            Activations.
        training : bool, optional
            Whether to normalise with the batch's statistics and move the running ones.
        mask : tensor, optional
            As in Keras's layer.
        """
        if not self._is_fused(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        learns = bool(training) and self.trainable
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=self._float32(self.gamma),
            offset=self._float32(self.beta),
            # The kernel wants empty running statistics while it computes the batch's own.
            mean=tf.constant([]) if learns else self._float32(self.moving_mean),
            variance=tf.constant([]) if learns else self._float32(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            # The kernel gives the sample's variance, with n - 1; Keras moves towards the one
            # with n.
            n = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (n - 1) / n)
        return outputs

    def _is_fused(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> bool:
        return (
            mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and not self.synchronized
            and not getattr(self, "renorm", False)  # Keras before 3.15 has none
            and self.compute_dtype != "float64"
        )

    def _float32(self, weight: keras.Variable) -> tf.Tensor:
        return tf.cast(weight.value, tf.float32)

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        moved = self._float32(average) * self.momentum + value * (1 - self.momentum)
        average.assign(tf.cast(moved, average.dtype))
