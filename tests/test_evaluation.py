import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from fmnist_utils import evaluation
from fmnist_utils.errors import BadInputError


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, 10, n), rng.dirichlet(np.ones(10), n).astype(np.float32)


@given(predictions())
def test_agreement_with_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    predicted = probabilities.argmax(axis=1)
    ours = evaluation.metrics(labels, probabilities)
    assert ours["accuracy"] == reference.accuracy_score(labels, predicted)
    assert ours["f1_macro"] == reference.f1_score(
        labels, predicted, average="macro", labels=range(10), zero_division=0
    )
    exact = probabilities.astype(float)
    by_hand = -np.log(exact[np.arange(len(labels)), labels] / exact.sum(axis=1)).mean()
    assert ours["log_loss"] == pytest.approx(by_hand)


@given(predictions(), st.integers(0, 99))
def test_order_of_samples_does_not_matter(sample: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    labels, probabilities = sample
    order = np.random.default_rng(seed).permutation(len(labels))
    assert evaluation.metrics(labels[order], probabilities[order]) == pytest.approx(
        evaluation.metrics(labels, probabilities)
    )


@given(predictions())
def test_confusion_counts_every_sample_once(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    counts = evaluation.confusion(labels, probabilities)
    assert counts.to_numpy().sum() == len(labels)
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=10))
    report = evaluation.class_report(labels, probabilities)
    diagonal = np.diag(counts)
    np.testing.assert_allclose(
        report["recall"], diagonal / np.maximum(counts.sum(axis=1), 1), atol=1e-12
    )


def test_perfect_and_constant_predictions() -> None:
    labels = np.repeat(np.arange(10), 3)
    perfect = evaluation.metrics(labels, np.eye(10)[labels])
    assert (perfect["accuracy"], perfect["f1_macro"]) == (1, 1)
    constant = evaluation.metrics(labels, np.eye(10)[np.zeros(30, int)])
    assert constant["accuracy"] == pytest.approx(0.1)
    assert constant["f1_macro"] == pytest.approx(2 * 0.1 / 1.1 / 10)


def test_wilson_interval_of_a_textbook_case() -> None:
    # Wilson's formula by hand for 8 of 10.
    z, p, n = 1.959963984540054, 0.8, 10
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert evaluation.accuracy_interval(8, 10) == pytest.approx((centre - half, centre + half))


def test_interval_at_the_ends_stays_between_zero_and_one() -> None:
    assert evaluation.accuracy_interval(0, 5)[0] == 0
    assert evaluation.accuracy_interval(5, 5)[1] == 1
    for correct, n in [(0, 0), (6, 5), (-1, 5)]:
        with pytest.raises(BadInputError, match=f"{correct} right answers of {n}"):
            evaluation.accuracy_interval(correct, n)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 10)), r"received \(0,\)"),
        ([1, 2], np.full((3, 10), 0.1), r"\(2,\) and \(3, 10\)"),
        ([10], np.full((1, 10), 0.1), "from 10 to 10"),
        ([0.5], np.full((1, 10), 0.1), "float64"),
        ([1], np.full((1, 10), np.nan), "NaN"),
    ],
)
def test_bad_input(labels: list[float], probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        evaluation.metrics(labels, probabilities)
