"""The pictures that the service shows."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fmnist_utils import data
from fmnist_utils.photos import prepare
from fmnist_utils.service import pictures

IMAGE = data.sketches(1, seed=3).images[0]


def decoded(url):
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_picture_comes_back_from_its_data_url(height, width, in_colour, seed):
    shape = (height, width, 3) if in_colour else (height, width)
    picture = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(decoded(pictures.data_url(picture)), picture)


def test_a_map_of_zeros_hides_nothing_and_what_it_marks_is_coloured():
    shown = pictures.overlay(IMAGE, np.zeros((28, 28), np.float32))
    enlarged = np.kron(255 - IMAGE, np.ones((10, 10), np.uint8))
    np.testing.assert_array_equal(shown, np.stack([enlarged] * 3, axis=-1))
    marked = np.zeros((28, 28), np.float32)
    marked[:, 20:] = 1
    coloured = pictures.overlay(IMAGE, marked)
    np.testing.assert_array_equal(coloured[:, :190], shown[:, :190])
    # viridis ends in yellow: red and green above blue, wherever the image is.
    assert (coloured[:, 210:, :2].min(axis=-1) > coloured[:, 210:, 2]).all()


@pytest.mark.parametrize("shape", [(60, 40, 3), (1, 1, 3), (28, 28, 3)])
def test_the_last_step_is_what_the_model_sees(shape):
    photo = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    prepared = prepare.to_image(prepare.read(buffer.getvalue()))
    seen = decoded(pictures.steps(prepared)["28x28"])
    np.testing.assert_array_equal(255 - seen[::10, ::10], prepared.image)
