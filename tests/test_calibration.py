import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from fmnist_utils.calibration import temperature
from fmnist_utils.errors import BadInputError


@given(factor=st.floats(0.2, 5), seed=st.integers(0, 100))
def test_it_undoes_what_logits_were_multiplied_by(factor, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(4_000, 10))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((4_000, 1))).sum(axis=1)
    labels = labels.clip(0, 9)
    assert temperature(factor * logits, labels) == pytest.approx(factor, rel=0.15)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(BadInputError, match=r"\(3, 10\) and \(2,\)"):
        temperature(np.zeros((3, 10)), [0, 1])
    with pytest.raises(BadInputError, match="n > 0"):
        temperature(np.zeros((0, 10)), [])
