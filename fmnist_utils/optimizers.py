"""Optimizers that Keras does not have."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("fmnist_utils")
class Muon(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Momentum made orthogonal, for convolutions that a normalisation follows.

    The momentum of a kernel, as a matrix with a column for each filter, is replaced by the nearest
    orthogonal matrix, so that a step moves the kernel as far along directions that the gradient
    rarely shows as along those that it always shows. The kernel is then scaled back to a fixed
    norm, as its scale means nothing before a normalisation, and the learning rate is the share of
    that norm that a step moves; weight decay, which only scales a kernel, does next to nothing to
    it. All other weights (scales, offsets, dense layers, convolutions
    with a bias, of a single channel or of each channel by itself) take Nesterov steps (momentum
    0.9) of `other_lr_multiplier` times the rate.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Of the kernels.
    momentum : float
        Of the kernels, of Nesterov's form.
    other_lr_multiplier : float
        Factor from the kernels' rate to that of all other weights.
    **kwargs
        As in `keras.optimizers.Optimizer`.

    Notes
    -----
    After K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks"
    (https://kellerjordan.github.io/posts/muon, 2024), and their airbench, whence the fixed norm.
    Keras's own Muon leaves the kernels of convolutions to AdamW.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        *,
        momentum: float = 0.6,
        other_lr_multiplier: float = 2.0,
        name: str = "muon",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.other_lr_multiplier = other_lr_multiplier

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the momentum of each variable."""
        if self.built:
            return
        super().build(variables)
        # What has a bias is followed by no normalisation.
        biased = {_layer_of(variable) for variable in variables if variable.name == "bias"}
        self._kernels = [_is_kernel(v) and _layer_of(v) not in biased for v in variables]
        self.momentums = [
            self.add_variable_from_reference(variable, name="momentum") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Move one variable, and its momentum."""
        index = self._get_variable_index(variable)
        average, is_kernel = self.momentums[index], self._kernels[index]
        momentum = self.momentum if is_kernel else 0.9
        self.assign(average, momentum * average + gradient)
        step = gradient + momentum * average
        if not is_kernel:
            self.assign_sub(variable, self.other_lr_multiplier * learning_rate * step)
            return
        n_filters = variable.shape[-1]
        direction = orthogonal(ops.reshape(step, (-1, n_filters)))
        moved = ops.reshape(variable, direction.shape) - learning_rate * direction
        scaled = moved * (n_filters**0.5 / ops.norm(moved))
        self.assign(variable, ops.reshape(scaled, variable.shape))

    @classmethod
    def from_config(cls, config: dict[str, Any], **kwargs: Any) -> "Muon":
        """Return the optimizer of a configuration, also of one saved when a name was another."""
        renamed = {"others": "other_lr_multiplier"}
        fields = {renamed.get(name, name): value for name, value in config.items()}
        optimizer: Muon = super().from_config(fields, **kwargs)
        return optimizer

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "other_lr_multiplier": self.other_lr_multiplier,
        }


@keras.saving.register_keras_serializable("fmnist_utils")
class LayerwiseAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam whose learning rate falls from layer to layer, from the last to the first.

    For a network that was trained on something else: its first layers see what all pictures have
    in common and need little change, its last ones have to learn anew.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Of the last layer that has weights.
    layer_decay : float
        Factor from each layer's rate to that of the layer before it.
    **kwargs
        As in `keras.optimizers.Adam`.

    Notes
    -----
    Discriminative fine-tuning: Howard and Ruder, arXiv 1801.06146.
    """

    def __init__(
        self, learning_rate: Any = 0.001, *, layer_decay: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.layer_decay = layer_decay

    def build(self, variables: list[keras.Variable]) -> None:
        """Make Adam's state, and note how deep each variable lies."""
        if not self.built:
            layers = list(dict.fromkeys(map(_layer_of, variables)))
            self._factors = [
                self.layer_decay ** (len(layers) - 1 - layers.index(_layer_of(variable)))
                for variable in variables
            ]
        super().build(variables)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Move one variable, at the rate of its layer."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "layer_decay": self.layer_decay}


def orthogonal(matrix: Any, *, steps: int = 5) -> Any:
    """Return roughly the nearest matrix whose rows, or columns, are orthonormal.

    Parameters
    ----------
    matrix : tensor of shape (m, n), float32
        Its singular values become values between 0.68 and 1.21; those below about 0.004 of its
        (Frobenius) norm stay smaller.
    steps : int
        Of the Newton-Schulz iteration, whose polynomial is tuned to rise steeply at zero.

    Examples
    --------
    >>> import numpy as np
    >>> made = np.asarray(orthogonal(np.float32([[3, 0], [0, 0.1]])))
    >>> bool(made[1, 1] > made[0, 0] / 2)
    True

    Notes
    -----
    Introduced in notebook 11.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * square + 2.0315 * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x


def _is_kernel(variable: keras.Variable) -> bool:
    """Return whether a variable is a convolution's kernel, from several channels to several."""
    return len(variable.shape) == 4 and min(variable.shape[2:]) > 1


def _layer_of(variable: keras.Variable) -> str:
    return str(variable.path).rpartition("/")[0]
