"""Import TensorFlow without what its native code logs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow() -> None:
    """Import TensorFlow and Keras without the lines that their native code logs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _native_stderr_muted():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # retracing and assets written, in every notebook
        # Looking for a GPU logs as well; later calls find the answer.
        tf.config.list_logical_devices()


@contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """Discard what native code writes to stderr; what Python writes in Jupyter goes elsewhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
