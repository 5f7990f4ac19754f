"""Layers that Keras does not have, or has slow."""

import keras
import tensorflow as tf


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
