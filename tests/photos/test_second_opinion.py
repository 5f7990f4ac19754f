import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from fmnist_utils import data
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.photos import prepare, second_opinion
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.photos.second_opinion import GARMENTS, SILENT
from fmnist_utils.series import bundle_second_opinion

SHOES = [CLASS_NAMES.index(name) for name in ("Sandal", "Sneaker", "Ankle boot")]
OTHERS = [i for i in range(10) if i not in SHOES]
PROBABILITIES = arrays(np.float32, (1, 10), elements=st.floats(0.0009765625, 1, width=32)).map(
    lambda rows: rows / rows.sum(axis=1, keepdims=True)
)
OPINIONS = arrays(np.float32, (1, 11), elements=st.floats(-3, 0.0625, width=32)).filter(np.any)


@pytest.fixture(scope="module")
def second():
    return second_opinion.SecondOpinion()


def photo(colour, *, at=np.s_[60:240, 60:140]):
    rgb = np.full((300, 200, 3), 230, np.uint8)
    rgb[at] = colour
    return prepare.Photo(rgb, np.ones(rgb.shape[:2], bool))


def test_each_garment_speaks_for_answers_whose_shares_sum_to_one():
    for number, (name, shares) in GARMENTS.items():
        assert 0 <= number < 1000
        assert set(shares) <= {*CLASS_NAMES, second_opinion.NONE}, name
        assert sum(shares.values()) == pytest.approx(1), name
    np.testing.assert_allclose(second_opinion._meanings().sum(axis=1), 1, rtol=1e-6)


def test_the_network_is_asked_about_photos_alone(second):
    seen = second.garments(prepare.to_image(photo((200, 30, 30))))
    assert seen.shape == (len(GARMENTS),)
    assert seen.sum() == pytest.approx(1, abs=1e-5)
    drawn = data.sketches(1, seed=0).images[0]
    drawn = prepare.Photo(np.repeat(drawn[..., None], 3, axis=-1), np.ones((28, 28), bool))
    unasked = second.garments(prepare.to_image(drawn))
    assert not unasked.any()
    assert (second_opinion.opinion(unasked) == SILENT).all()
    assert second_opinion.likeliest(unasked, 3) == []


def test_it_sees_the_garment_wherever_it_lies(second):
    one = second.garments(prepare.to_image(photo((20, 60, 160))))
    other = second.garments(prepare.to_image(photo((20, 60, 160), at=np.s_[90:270, 20:100])))
    assert np.abs(one - other).max() < 0.05


def test_the_likeliest_are_named_in_order(second):
    seen = second.garments(prepare.to_image(photo((20, 60, 160))))
    named = second_opinion.likeliest(seen, 3)
    assert [p for _, p in named] == sorted(seen.tolist(), reverse=True)[:3]
    assert named[0][0] == list(GARMENTS.values())[seen.argmax()][0]


@pytest.mark.parametrize(
    ("garment", "answer"), [("jean", "Trouser"), ("sandal", "Sandal"), ("running shoe", "Sneaker")]
)
def test_a_sure_second_opinion_decides_where_the_first_is_open(garment, answer):
    sure = np.array([name == garment for name, _ in GARMENTS.values()], np.float32)
    heard = second_opinion.opinion(sure)[None]
    undecided = np.full((1, 10), 0.1, np.float32)
    assert second_opinion.revised(undecided, heard).argmax() == CLASS_NAMES.index(answer)
    assert second_opinion.log_odds(heard)[0] > 0
    hat = np.array([name == "cowboy hat" for name, _ in GARMENTS.values()], np.float32)
    assert second_opinion.log_odds(second_opinion.opinion(hat)[None])[0] < 0


@given(PROBABILITIES, OPINIONS)
def test_both_are_multiplied(first, heard):
    revised = second_opinion.revised(first, heard)
    assert revised.sum() == pytest.approx(1, abs=1e-5)
    product = (first * np.exp(heard[:, :10]))[0]
    np.testing.assert_allclose(
        revised[0, OTHERS] / revised[0, OTHERS].sum(),
        product[OTHERS] / product[OTHERS].sum(),
        atol=1e-4,
    )
    assert revised[0, SHOES].sum() == pytest.approx(product[SHOES].sum() / product.sum(), abs=1e-4)


@given(PROBABILITIES)
def test_silence_changes_nothing(first):
    heard = SILENT[None]
    assert (second_opinion.revised(first, heard) == first).all()
    assert second_opinion.log_odds(heard) == 0


def test_silent_and_heard_images_are_answered_together():
    predictor = Predictor()
    images = data.sketches(6, seed=2).images
    opinions = np.random.default_rng(0).normal(size=(6, 11)).astype(np.float32)
    opinions[::2] = 0
    together, alone = predictor.predict(images, opinions), predictor.predict(images)
    np.testing.assert_allclose(together.probabilities[::2], alone.probabilities[::2], atol=1e-6)
    np.testing.assert_array_equal(together.known[::2], alone.known[::2])
    assert np.abs(together.probabilities - alone.probabilities)[1::2].max(axis=1).min() > 1e-4
    shift = together.energy_score - alone.energy_score
    np.testing.assert_allclose(shift, second_opinion.log_odds(opinions), atol=1e-5)


def test_the_answer_is_open_and_what_is_open_beside_it_is_named():
    predictor = Predictor()
    answers = predictor.predict(data.sketches(40, seed=2).images)
    for row, allowed, others, ranked in zip(
        answers.probabilities, answers.open, answers.alternatives(), answers.top(10), strict=True
    ):
        assert allowed[row.argmax()]
        assert [ranked[0][0], *others] == [name for name, _ in ranked][: allowed.sum()]
        assert (row[allowed].min() >= row[~allowed].max()) if not allowed.all() else True


def test_weights_in_8_bits_are_nearly_the_same_and_a_quarter_as_large():
    rng = np.random.default_rng(0)
    kernel = (rng.normal(size=(64, 16, 3, 3)) * rng.uniform(0.1, 9, (64, 1, 1, 1))).astype("f")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel", "bias"], ["y"])],
        "one convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 6, 6])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.ones(64, "f"), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    small = bundle_second_opinion.quantized(model)
    assert small.ByteSize() < 0.3 * model.ByteSize()
    x = {"x": rng.normal(size=(1, 16, 8, 8)).astype("f")}
    (exact,), (rounded,) = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, x) for one in (model, small)
    )
    deviation = np.abs(rounded - exact).mean(axis=(0, 2, 3)) / np.abs(exact).mean(axis=(0, 2, 3))
    assert deviation.max() < 0.02
    onnx.checker.check_model(small)
