import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from fmnist_utils import data, evaluation, plots
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import BadInputError


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "loss": [2.0, 1.0], "accuracy": [0.5, 0.7], "val_loss": [1.5, 1.2]}
).assign(val_accuracy=[0.6, 0.65])


def test_image_grid_draws_each_image_once() -> None:
    images = data.sketches(7, seed=0).images
    figure = plots.image_grid(images, [str(i) for i in range(7)], columns=3)
    drawn = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in drawn] == [str(i) for i in range(7)]
    for ax, image in zip(drawn, images, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)


def test_image_grid_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(BadInputError, match=r"\(0, 28, 28\)"):
        plots.image_grid(np.zeros((0, 28, 28)))
    with pytest.raises(BadInputError, match="got 1 for 2"):
        plots.image_grid(np.zeros((2, 28, 28)), ["one"])
    with pytest.raises(BadInputError, match=r"received \(28, 28\)"):
        plots.class_grid(np.zeros((28, 28)), [0])


def test_gallery_says_what_was_said_and_what_is() -> None:
    images = data.sketches(2, seed=0).images
    probabilities = np.array([np.eye(10)[6] * 0.8 + 0.02, np.eye(10)[9] * 0.9 + 0.01])
    figure = plots.gallery(images, [0, 9], probabilities)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["Shirt 82%\n✗ label: T-shirt/top", "Ankle boot 91%\n✓"]
    with pytest.raises(BadInputError, match="got 2 images, 1 labels and 2 rows"):
        plots.gallery(images, [0], probabilities)


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_learning_curves_tell_lines_apart_without_colour(measure: str) -> None:
    ax = plots.learning_curves({"a": HISTORY, "b": HISTORY}, measure=measure)
    styles = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len(styles) == len(ax.lines) == 4
    assert ax.get_xlabel() == "epoch"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), HISTORY[f"val_{measure}"])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), HISTORY[measure])


def test_functions_draw_where_they_are_told() -> None:
    labels = np.arange(10).repeat(2)
    counts = evaluation.confusion(labels, np.eye(10)[labels])
    for draw in (
        lambda ax: plots.confusion_matrix(counts, title="t", ax=ax),
        lambda ax: plots.learning_curves({"a": HISTORY}, ax=ax),
    ):
        ax = plt.subplots()[1]
        assert draw(ax) is ax
        assert ax.get_title()
        assert ax.get_xlabel()
        assert ax.get_ylabel()


def test_confusion_matrix_writes_counts_and_shades_shares() -> None:
    labels = np.array([0, 0, 0, 1])
    predicted = np.array([0, 0, 1, 1])
    ax = plots.confusion_matrix(evaluation.confusion(labels, np.eye(10)[predicted]), title="t")
    texts = [text.get_text() for text in ax.texts]
    assert texts[:2] == ["2", "1"]
    shares = ax.collections[0].get_array()
    assert shares.ravel()[0] == pytest.approx(200 / 3)
    in_percent = plots.confusion_matrix(
        evaluation.confusion(labels, np.eye(10)[predicted]), title="t", rates=True
    )
    assert [text.get_text() for text in in_percent.texts][:2] == ["66.7", "33.3"]


def test_overlays_have_a_row_an_image_and_a_column_a_map() -> None:
    images = data.sketches(2, seed=0).images
    maps = {name: np.full((2, 28, 28), value) for name, value in (("a", 0.2), ("b", 0.7))}
    figure = plots.overlays(images, maps, captions=["x", "y"], title="t")
    drawn = np.array([ax.images[0].get_array().max() for ax in figure.axes]).reshape(2, 3)
    np.testing.assert_allclose(drawn[:, 1:], [[0.2, 0.7]] * 2)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["image", "a", "b"]
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["x", "y"]
    with pytest.raises(BadInputError, match="for 1 images"):
        plots.overlays(images[:1], maps, captions=["x"], title="t")


def test_confusion_gallery_shows_the_surest_of_each_kind() -> None:
    shades = np.array([50, 90, 170])
    images = np.broadcast_to(shades[:, None, None], (3, 4, 4)).astype(np.uint8)
    probabilities = np.stack([np.eye(10)[1] * p + 0.01 for p in (0.5, 0.8, 0.4)])
    ax = plots.confusion_gallery(images, [0, 0, 1], probabilities, title="t")
    assert sorted(text.get_text() for text in ax.texts) == ["1", "2"]
    canvas = ax.images[0].get_array()
    across, down = canvas.shape[1] // 10, canvas.shape[0] // 10
    assert set(np.unique(canvas[:down, across : 2 * across])) == {0, 90}
    assert set(np.unique(canvas[down : 2 * down, across : 2 * across])) == {0, 170}
    assert (canvas > 0).sum() == 2 * 16


def test_intervals_put_the_first_at_the_top() -> None:
    values = pd.Series({"a": 1.0, "b": 2.0})
    high = pd.Series({"a": 2.0, "b": np.nan})
    ax = plots.intervals(values, values - 0.5, high, xlabel="x", title="t")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.yaxis_inverted()
    np.testing.assert_allclose(ax.collections[0].get_segments()[0], [[0.5, 0], [2.0, 0]])


def test_lines_are_told_apart_without_colour() -> None:
    series = {name: pd.Series([0.5, 0.6], index=[0.1, 1.0]) for name in ("adam", "sgd")}
    ax = plots.lines(series, xlabel="x", ylabel="y", title="t", log_x=True)
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 2
    assert ax.get_xscale() == "log"


def test_weight_grid_puts_zero_in_the_middle() -> None:
    weights = np.array([[[-1.0, 0.0], [0.5, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    figure = plots.weight_grid(weights)
    images = [image for ax in figure.axes for image in ax.images]
    np.testing.assert_allclose(images[0].get_array(), weights[0] / 2)
    np.testing.assert_allclose(images[1].get_array(), 0)
    assert {image.get_clim() for image in images} == {(-1, 1)}


def test_class_grid_keeps_a_class_to_its_row() -> None:
    labels = np.arange(10).repeat(3)
    images = np.broadcast_to(labels[:, None, None] + 1, (30, 4, 4)).astype(np.uint8)
    ax = plots.class_grid(images, labels, columns=2)
    canvas = ax.images[0].get_array()
    for label, row in enumerate(np.split(canvas, 10)):
        assert set(np.unique(row)) == {0, label + 1}
    assert [text.get_text() for text in ax.get_yticklabels()] == list(CLASS_NAMES)


def test_class_heatmap_shows_each_pair_once() -> None:
    values = pd.DataFrame(np.arange(16).reshape(4, 4), index=list("abcd"), columns=list("abcd"))
    ax = plots.class_heatmap(values, title="t", unit="u")
    assert [text.get_text() for text in ax.texts] == ["4", "8", "9", "12", "13", "14"]


def test_projection_has_a_name_and_a_marker_a_class() -> None:
    positions = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.arange(40) % 10
    ax = plots.projection(positions, labels, title="t")
    assert sorted(text.get_text() for text in ax.texts) == sorted(CLASS_NAMES)
    assert len({points.get_paths()[0].vertices.tobytes() for points in ax.collections}) == 10
    assert sum(len(points.get_offsets()) for points in ax.collections) == 40


def test_thumbnail_map_puts_images_where_they_belong() -> None:
    images = np.stack([np.full((2, 2), value, np.uint8) for value in (10, 20)])
    ax = plots.thumbnail_map([[0.0, 0.0], [1.0, 1.0]], images, title="t", side=3)
    canvas = ax.images[0].get_array()
    assert canvas.shape == (6, 6)
    assert sorted(set(canvas.ravel().tolist())) == [0, 10, 20]
    assert (canvas == 10).sum() == (canvas == 20).sum() == 4


def test_numbers_stand_out_in_their_cells() -> None:
    labels = np.arange(10).repeat(2)
    ax = plots.confusion_matrix(evaluation.confusion(labels, np.eye(10)[labels]), title="t")
    assert ax.texts[0].get_color() == "white"  # all of a class, on black
    assert ax.texts[1].get_color() == "black"  # none, on white
