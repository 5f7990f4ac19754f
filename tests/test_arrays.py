import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from fmnist_utils import arrays
from fmnist_utils.errors import BadInputError

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 10)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(LOGITS)
def test_softmax_is_scipys(logits):
    np.testing.assert_allclose(arrays.softmax(logits), special.softmax(logits, axis=1), atol=1e-6)


@given(hnp.arrays(np.float32, (2, 3, 3), elements=st.floats(-10, 10, width=32)))
def test_maps_keep_their_order_and_end_at_one(maps):
    scaled = arrays.scale_maps(maps)
    assert scaled.min() >= 0
    for before, after in zip(maps, scaled, strict=True):
        assert after.max() == pytest.approx(1 if before.max() > 0 else 0)
        assert (after[before <= 0] == 0).all()


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 28), (2, 28, 28, 1)])
def test_what_is_no_stack_of_images_is_refused(shape):
    with pytest.raises(BadInputError, match=r"Need images of shape \(n, height, width\), n > 0"):
        arrays.check_images(np.zeros(shape))


def test_pixels_are_bytes_in_the_shape_of_the_data_set():
    with pytest.raises(BadInputError, match=r"shape \(n, 28, 28\).*received \(1, 32, 32\)"):
        arrays.check_pixels(np.zeros((1, 32, 32), np.uint8))
    with pytest.raises(BadInputError, match="uint8, 0 to 255; received float64"):
        arrays.check_pixels(np.zeros((1, 28, 28)))
