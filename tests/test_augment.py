import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_utils import augment, data
from fmnist_utils.classes import OOD
from fmnist_utils.recipes import Augmentation

N = 256
IMAGES = data.sketches(N, seed=0).images


def _augmented(images=IMAGES, *, seed=0, epoch=0, **options):
    drawn = augment.draw(len(images), Augmentation(**options), seed=seed, epoch=epoch)
    return augment.apply(tf.constant(images), drawn).numpy()


def _shifted(image, dy, dx):
    padded = np.pad(image, 28)
    return padded[28 - dy : 56 - dy, 28 - dx : 56 - dx]


def test_nothing_asked_for_nothing_done():
    np.testing.assert_array_equal(_augmented(), IMAGES)


def test_each_image_is_shifted_by_itself_with_background_coming_in():
    moves = set()
    for image, moved in zip(IMAGES, _augmented(shift=2), strict=True):
        fitting = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if np.array_equal(moved, _shifted(image, dy, dx))
        ]
        assert fitting
        moves.update(fitting)
    assert len(moves) == 25


@pytest.mark.parametrize(("flip", "axis"), [("random", 2), ("alternating", 2), ("vertical", 1)])
def test_some_images_are_flipped_and_the_others_left(flip, axis):
    flipped = _augmented(flip=flip)
    other = (flipped == np.flip(IMAGES, axis)).all((1, 2))
    assert (other | (flipped == IMAGES).all((1, 2))).all()
    assert 0.25 < other.mean() < 0.75


@given(epoch=st.integers(0, 50), seed=st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_two_alternating_epochs_show_both_sides_of_each_image(epoch, seed):
    one, two = (_augmented(flip="alternating", epoch=e, seed=seed) for e in (epoch, epoch + 1))
    np.testing.assert_array_equal(one, two[:, :, ::-1])


def test_garments_may_be_flipped_and_what_is_lopsided_not():
    labels = data.sketches(N, seed=0).labels
    options = Augmentation(shift=2, flip="alternating")
    assert augment.without_invalid_flips(options, IMAGES, labels) == options
    lopsided = np.where(np.arange(28) < 14, IMAGES, 0)
    assert augment.without_invalid_flips(options, lopsided, labels) == Augmentation(shift=2)
    upside_down = Augmentation(flip="vertical")
    assert augment.without_invalid_flips(upside_down, lopsided, labels) == upside_down
    with_others = np.concatenate([labels, np.full(N, OOD)])
    both = np.concatenate([IMAGES, np.broadcast_to(lopsided, IMAGES.shape)])
    assert augment.without_invalid_flips(options, both, with_others) == options
    assert augment.without_invalid_flips(options, np.zeros_like(IMAGES), labels) == options


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "flip"), [("fashion_mnist", "random"), ("mnist", "none")])
def test_the_published_images_decide_clearly(dataset, flip):
    train = data.load_training(dataset, train_size=200).train
    assert augment.without_invalid_flips(Augmentation(flip="random"), *train).flip == flip


@given(erase=st.integers(1, 28))
@settings(max_examples=10, deadline=None)
def test_a_square_is_erased_somewhere_else_in_each_image(erase):
    white = np.full((N, 28, 28), 255, np.uint8)
    erased = _augmented(white, erase=erase) == 0
    assert (erased.any(2).sum(1) <= erase).all()
    assert (erased.any(1).sum(1) <= erase).all()
    # A rectangle: as many pixels as rows times columns.
    np.testing.assert_array_equal(erased.sum((1, 2)), erased.any(2).sum(1) * erased.any(1).sum(1))
    # The centre lies inside, so at least a quarter of the square does.
    assert (erased.sum((1, 2)) >= (erase // 2) ** 2).all()
    assert len(np.unique(erased, axis=0)) > N / 2


def test_a_turn_keeps_the_middle_and_moves_the_rim():
    disc = np.hypot(*(np.mgrid[:28, :28] - 13.5)) < 9
    discs = np.repeat(disc[np.newaxis] * np.uint8(200), N, axis=0)
    turned = _augmented(discs, rotate=180)
    inside, outside = (np.hypot(*(np.mgrid[:28, :28] - 13.5)) < r for r in (7, 11))
    assert (turned[:, inside] == 200).all()
    assert (turned[:, ~outside] == 0).all()
    assert len(np.unique(_augmented(rotate=20), axis=0)) > N * 0.9


def test_a_quarter_turn_is_exact():
    drawn = augment.draw(1, Augmentation(), seed=0, epoch=0)
    quarter = tf.constant([[0.0, 1, 0, -1, 0, 27, 0, 0]])
    turned = augment.apply(IMAGES[:1], augment.Draw(quarter, drawn.boxes))
    np.testing.assert_array_equal(turned[0], np.rot90(IMAGES[0], -1))


def test_zoom_changes_the_size_both_ways():
    square = np.zeros((N, 28, 28), np.uint8)
    square[:, 9:19, 9:19] = 255
    areas = (_augmented(square, zoom=0.4) > 127).sum((1, 2)) / 100
    assert areas.min() < 0.7
    assert areas.max() > 1.4
    assert areas.min() > 0.3  # a factor of 0.6 squared
    assert areas.max() < 2.1  # a factor of 1.4 squared


OPTIONS = {"shift": 2, "flip": "random", "rotate": 10, "zoom": 0.1, "erase": 8}


def test_seed_and_epoch_reproduce_and_differ():
    first = _augmented(seed=3, epoch=2, **OPTIONS)
    np.testing.assert_array_equal(first, _augmented(seed=3, epoch=2, **OPTIONS))
    for other in (_augmented(seed=4, epoch=2, **OPTIONS), _augmented(seed=3, epoch=3, **OPTIONS)):
        assert (first != other).any((1, 2)).mean() > 0.9


def test_equal_images_come_out_different():
    same = np.repeat(IMAGES[:1], N, axis=0)
    assert len(np.unique(_augmented(same, **OPTIONS), axis=0)) > N * 0.9


def test_mixed_images_and_labels_have_the_same_shares():
    n = 200
    bright = np.arange(n, dtype=np.uint8)
    images = np.broadcast_to(bright[:, None, None], (n, 28, 28))
    labels = np.eye(10, dtype=np.float32)[np.arange(n) % 10]
    mixed, soft = augment.mix(tf.constant(images), tf.constant(labels), alpha=1.0, seed=(0, 1))
    share = soft.numpy()[np.arange(n), np.arange(n) % 10]
    expected = share * bright + (1 - share) * np.roll(bright, -1)
    np.testing.assert_allclose(mixed.numpy()[:, 3, 5], expected, atol=0.51)
    np.testing.assert_allclose(soft.numpy().sum(1), 1, rtol=1e-6)
    assert ((soft.numpy() > 0).sum(1) == 2).all()
    # Beta(1, 1) is uniform: mean one half, deviation 0.29; one draw an image.
    assert share.mean() == pytest.approx(0.5, abs=0.08)
    assert share.std() == pytest.approx(0.29, abs=0.05)
    again, _ = augment.mix(tf.constant(images), tf.constant(labels), alpha=1.0, seed=(0, 1))
    np.testing.assert_array_equal(mixed, again)


def test_a_small_alpha_leaves_most_images_nearly_as_they_are():
    labels = tf.one_hot(np.arange(N) % 10, 10)
    _, soft = augment.mix(tf.constant(IMAGES), labels, alpha=0.02, seed=(0, 1))
    assert (soft.numpy().max(1) > 0.95).mean() > 0.8
    assert np.isfinite(soft).all()
