"""A trained model for other runtimes, ONNX Runtime and LiteRT, checked against Keras."""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_utils import models
from fmnist_utils.arrays import softmax
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import FailureError, unknown
from fmnist_utils.files import atomic_write

Format = Literal["onnx", "litert"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "litert": ".tflite"}
_NEEDED = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}


class Parity(NamedTuple):
    """How an exported model's answers differ from those of the model that it came from.

    Parameters
    ----------
    largest_difference : float
        Between two probabilities.
    agreement : float
        Share of the images that both give the same class.
    accuracy, exported_accuracy : float
        Of the model and of its export.
    """

    largest_difference: float
    agreement: float
    accuracy: float
    exported_accuracy: float


def with_auxiliary_outputs(model: keras.Model) -> keras.Model:
    """Return a model for deployment that also gives what its answer is made of.

    Parameters
    ----------
    model : keras.Model
        A classifier of the series, functional or sequential.

    Returns
    -------
    keras.Model
        In float32, batch normalisation folded, Keras's own layers only. It gives ``logits``,
        float32 of shape (n, 10); ``embedding``, the inputs of the last layer; and, where these are
        the last convolution's features, each pooled over the image, ``class_activation`` of shape
        (n, h, w, 10): what each place says for each class.

    Notes
    -----
    Pooled features reach a logit through the last layer alone, so a class activation map is
    Grad-CAM of the last features up to a factor, with no gradient to compute (Zhou et al., arXiv
    1512.04150; Selvaraju et al., arXiv 1610.02391).
    """
    folded = models.fold_batch_norms(model)
    dropout = keras.layers.Dropout
    *_, pooling, last = (layer for layer in folded.layers if not isinstance(layer, dropout))
    logits = keras.layers.Dense(last.units, dtype="float32")
    outputs = {"logits": logits(last.input), "embedding": last.input}
    logits.set_weights(last.get_weights())
    if isinstance(pooling, keras.layers.GlobalMaxPooling2D | keras.layers.GlobalAveragePooling2D):
        class_activation = keras.layers.Dense(last.units, use_bias=False, dtype="float32")
        outputs["class_activation"] = class_activation(pooling.input)
        class_activation.set_weights(last.get_weights()[:1])
    return keras.Model(folded.inputs[0], outputs, name=model.name)


def export(model: keras.Model, path: Path, *, calibration: NDArray[np.uint8] | None = None) -> None:
    """Write a model for ONNX Runtime or LiteRT, as the path's suffix says.

    Parameters
    ----------
    model : keras.Model
        A classifier of the series.
    path : Path
        Ends in ``.onnx`` (with the outputs of `with_auxiliary_outputs`) or ``.tflite``
        (probabilities).
    calibration : ndarray of shape (n, 28, 28), uint8, optional
        Training images; where they are given, weights and activations have 8 bits, over the
        ranges that these images reach.

    Raises
    ------
    BadInputError
        If the suffix is another.
    FailureError
        If a library is not installed, or the file cannot be written.
    """
    kinds: dict[str, Format] = {suffix: kind for kind, suffix in SUFFIXES.items()}
    if path.suffix not in kinds:
        raise unknown("suffix of an exported model", path.suffix, kinds)
    check_installed(kinds[path.suffix])
    write = _write_onnx if path.suffix == ".onnx" else _write_litert
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as unfinished:
        written = Path(folder) / f"model{path.suffix}"
        write(model, written, calibration)
        unfinished.write_bytes(written.read_bytes())


def check_installed(kind: str) -> None:
    """Raise an error unless the libraries for a format are there.

    Parameters
    ----------
    kind : {"onnx", "litert"}
        The format.

    Raises
    ------
    BadInputError
        If the format is unknown.
    FailureError
        If a library is not installed.
    """
    if kind not in _NEEDED:
        raise unknown("format", kind, get_args(Format))
    missing = [name for name in _NEEDED[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise FailureError(
            f"Format {kind} needs {' and '.join(missing)}: install fmnist_utils[export]."
        )


def _write_onnx(model: keras.Model, path: Path, calibration: NDArray[np.uint8] | None) -> None:
    network = with_auxiliary_outputs(model)
    network(np.zeros((1, *IMAGE_SHAPE), np.uint8))  # Keras exports only what was called
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)  # tf2onnx
        network.export(path, format="onnx", verbose=False)
    if calibration is None:
        return
    from onnxruntime import quantization

    exact = path.rename(path.with_stem("exact"))
    prepared = path.with_stem("prepared")
    # Symbolic shapes are for transformers, and would need sympy.
    quantization.shape_inference.quant_pre_process(exact, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        path,
        _Images(calibration, network.inputs[0].name),
        per_channel=True,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )


def _write_litert(model: keras.Model, path: Path, calibration: NDArray[np.uint8] | None) -> None:
    options: dict[str, Any] = {}
    if calibration is not None:
        import tensorflow as tf

        options = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([image[None]] for image in calibration),
        }
    models.fold_batch_norms(model).export(path, format="litert", verbose=False, **options)


class _Images:
    """Images one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, images: NDArray[np.uint8], name: str) -> None:
        self._feeds = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._feeds, None)


def load(path: Path, *, threads: int = 1) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return an exported model as a function from images to probabilities.

    Parameters
    ----------
    path : Path
        Ends in ``.onnx`` or ``.tflite``.
    threads : int
        That it computes with.
    """
    return _load_onnx(path, threads) if path.suffix == ".onnx" else _load_litert(path, threads)


def _load_onnx(path: Path, threads: int) -> Callable[..., NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], {name: images})
        return softmax(logits)

    return probabilities


def _load_litert(path: Path, threads: int) -> Callable[..., NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target["index"]))

    return probabilities


def parity(
    model: keras.Model, path: Path, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> Parity:
    """Compare an exported model with the one that it came from.

    Parameters
    ----------
    model : keras.Model
        What was exported.
    path : Path
        Where it was exported to.
    images : ndarray of shape (n, 28, 28), uint8
        To compare the answers to; at least one.
    labels : ndarray of shape (n,), integer
        Their classes.
    """
    exported = load(path)
    theirs = np.concatenate([exported(images[i : i + 500]) for i in range(0, len(images), 500)])
    ours = models.predict(model, images)
    answers, exported_answers = ours.argmax(axis=1), theirs.argmax(axis=1)
    return Parity(
        largest_difference=float(np.abs(ours - theirs).max()),
        agreement=float((answers == exported_answers).mean()),
        accuracy=float((answers == labels).mean()),
        exported_accuracy=float((exported_answers == labels).mean()),
    )
