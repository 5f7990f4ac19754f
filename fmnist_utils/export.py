"""A trained model for other runtimes, ONNX Runtime and LiteRT, checked against Keras."""

import contextlib
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_utils import models
from fmnist_utils.arrays import softmax
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import not_installed, unknown
from fmnist_utils.files import atomic_write

Images = NDArray[np.uint8]
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_LIBRARIES = {"onnx": "tf2onnx", "litert": "ai_edge_litert"}


class Parity(NamedTuple):
    """How the answers of an exported model differ from those of the model itself.

    Parameters
    ----------
    largest_difference : float
        Largest absolute difference between two probabilities.
    agreement : float
        Share of the images to which both give the same class, 0 to 1.
    accuracy, exported_accuracy : float
        Share of right answers, of the model and of its export, 0 to 1.
    """

    largest_difference: float
    agreement: float
    accuracy: float
    exported_accuracy: float


def with_auxiliary_outputs(model: keras.Model) -> keras.Model:
    """Return a copy of a model that also gives the features and maps behind its answer.

    Parameters
    ----------
    model : keras.Model
        A classifier of the series, functional or sequential.

    Returns
    -------
    keras.Model
        In float32, batch normalisation folded, Keras's own layers only. Its outputs, all float32:
        ``logits`` of shape (n, 10); ``embedding`` of shape (n, d), what the last layer reads; and,
        if that is global pooling of feature maps, ``class_activation`` of shape (n, h, w, 10), the
        class activation map of each class, before pooling.

    Notes
    -----
    Pooled features reach a logit through the last layer alone, so a class activation map is
    Grad-CAM of the last features up to a factor, with no gradient to compute (Zhou et al., arXiv
    1512.04150; Selvaraju et al., arXiv 1610.02391).

    Examples
    --------
    >>> from fmnist_utils import export, models
    >>> sorted(export.with_auxiliary_outputs(models.build("dense")).output)
    ['embedding', 'logits']
    """
    folded = models.fold_batch_norms(model)
    dropout = keras.layers.Dropout
    *_, pooling, last = (layer for layer in folded.layers if not isinstance(layer, dropout))
    logits = keras.layers.Dense(last.units, dtype="float32", name="logits")
    outputs = {"logits": logits(last.input), "embedding": last.input}
    logits.set_weights(last.get_weights())
    if isinstance(pooling, keras.layers.GlobalMaxPooling2D | keras.layers.GlobalAveragePooling2D):
        class_activation = keras.layers.Dense(
            last.units, use_bias=False, dtype="float32", name="class_activation"
        )
        outputs["class_activation"] = class_activation(pooling.input)
        class_activation.set_weights(last.get_weights()[:1])
    return keras.Model(folded.inputs[0], outputs, name=model.name)


def export(model: keras.Model, path: Path, *, calibration: Images | None = None) -> None:
    """Write a model for ONNX Runtime or LiteRT, as the path's suffix says.

    Parameters
    ----------
    model : keras.Model
        A classifier of the series.
    path : Path
        Ends in ``.onnx`` (with the outputs of `with_auxiliary_outputs`) or ``.tflite``
        (probabilities).
    calibration : ndarray of shape (n, 28, 28), uint8, optional
        Training images. If given, weights and activations are stored in 8 bits, scaled to the
        ranges that they take for these images.

    Raises
    ------
    BadInputError
        If the suffix is another.
    FailureError
        If a library is not installed, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmnist_utils import export, models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export.export(models.build("dense"), Path(folder) / "dense.onnx")
    ...     print([file.name for file in Path(folder).iterdir()])
    ['dense.onnx']
    """
    kind = kind_of(path)
    check_installed(kind)
    write = {"onnx": _write_onnx, "litert": _write_litert}[kind]
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as unfinished:
        written = Path(folder) / f"model{path.suffix}"
        write(model, written, calibration)
        unfinished.write_bytes(written.read_bytes())


def check_installed(kind: str) -> None:
    """Raise an error unless the library that writes or reads a format is installed.

    Parameters
    ----------
    kind : {"onnx", "litert"}
        The format.

    Raises
    ------
    BadInputError
        If the format is unknown.
    FailureError
        If the library is not installed.

    Examples
    --------
    >>> from fmnist_utils import export
    >>> export.check_installed("pb")
    Traceback (most recent call last):
    fmnist_utils.errors.BadInputError: Unknown format 'pb': choose one of onnx, litert.
    """
    if kind not in SUFFIXES:
        raise unknown("format", kind, SUFFIXES)
    if importlib.util.find_spec(_LIBRARIES[kind]) is None:
        raise not_installed(_LIBRARIES[kind], "export")


def kind_of(path: Path) -> str:
    """Return the format that a file's suffix stands for, in capitals or not.

    Parameters
    ----------
    path : Path
        Ends in ``.onnx`` or ``.tflite``.

    Raises
    ------
    BadInputError
        If the suffix is another.

    Examples
    --------
    >>> kind_of(Path("model.tflite"))
    'litert'
    """
    for kind, suffix in SUFFIXES.items():
        if path.suffix.lower() == suffix:
            return kind
    raise unknown("suffix of an exported model", path.suffix, SUFFIXES.values())


def _write_onnx(model: keras.Model, path: Path, calibration: Images | None) -> None:
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
    feeds = iter([{network.inputs[0].name: image[None]} for image in calibration])
    quantization.quantize_static(
        prepared,
        path,
        SimpleNamespace(get_next=lambda: next(feeds, None)),
        per_channel=True,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )


def _write_litert(model: keras.Model, path: Path, calibration: Images | None) -> None:
    # Not by keras.Model.export, which knows the format only from Keras 3.11 on.
    converter = tf.lite.TFLiteConverter.from_keras_model(models.fold_batch_norms(model))
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
    # Keras tells that it saves the model on the way; TensorFlow misses the scale of inputs that are
    # whole numbers already.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        path.write_bytes(converter.convert())


def load(path: Path) -> Callable[[Images], NDArray[np.float32]]:
    """Return an exported model as a function from images to probabilities, with one thread.

    Parameters
    ----------
    path : Path
        Written by `export`; ends in ``.onnx`` or ``.tflite``.

    Returns
    -------
    callable
        From uint8 of shape (n, 28, 28) to float32 of shape (n, 10), 0 to 1; each row sums to 1.

    Raises
    ------
    BadInputError
        If the suffix is another.

    Examples
    --------
    >>> from fmnist_utils import data, export, paths
    >>> packaged = export.load(paths.packaged_model_dir() / "model.onnx")
    >>> packaged(data.sketches(3, seed=0).images).shape
    (3, 10)
    """
    return {"onnx": _load_onnx, "litert": _load_litert}[kind_of(path)](path)


def _load_onnx(path: Path) -> Callable[[Images], NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def probabilities(images: Images) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], {name: images})
        return softmax(logits)

    return probabilities


def _load_litert(path: Path) -> Callable[[Images], NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def probabilities(images: Images) -> NDArray[np.float32]:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target["index"]))

    return probabilities


def parity(model: keras.Model, path: Path, images: Images, labels: NDArray[np.integer]) -> Parity:
    """Return how far the answers of an exported model are from those of the model itself.

    Parameters
    ----------
    model : keras.Model
        The model that was exported.
    path : Path
        The file that `export` wrote.
    images : ndarray of shape (n, 28, 28), uint8
        At least one; 0 is background.
    labels : ndarray of shape (n,), integer
        Their classes, 0 to 9.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmnist_utils import data, export, models
    >>> model = models.build("dense")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "dense.onnx"
    ...     export.export(model, path)
    ...     export.parity(model, path, *data.sketches(20, seed=0)).agreement
    1.0
    """
    exported = load(path)
    ours = models.predict(model, images)
    theirs = np.concatenate([exported(images[i : i + 500]) for i in range(0, len(images), 500)])
    return Parity(
        float(np.abs(ours - theirs).max()),
        float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))),
        *(float(np.mean(answers.argmax(axis=1) == labels)) for answers in (ours, theirs)),
    )
