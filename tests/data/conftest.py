from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def idx() -> Callable[[np.ndarray], bytes]:
    """Return a function that makes an IDX file as the format's page says."""

    def pack(array: np.ndarray) -> bytes:
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()

    return pack
