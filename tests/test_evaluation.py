import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from fmnist_utils import evaluation
from fmnist_utils.classes import class_names
from fmnist_utils.errors import BadInputError


@st.composite
def predictions(draw: st.DrawFn, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.integers(1, 4, (n, 10)) if ties else rng.dirichlet(np.ones(10), n)
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return rng.integers(0, 10, n), probabilities.astype(np.float32)


@given(predictions())
def test_agreement_with_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    predicted = probabilities.argmax(axis=1)
    ours = evaluation.metrics(labels, probabilities)
    assert ours["accuracy"] == reference.accuracy_score(labels, predicted)
    assert ours["f1_macro"] == reference.f1_score(
        labels, predicted, average="macro", labels=np.unique(labels), zero_division=0
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
    with np.errstate(invalid="ignore"):  # 0 / 0 of classes without images
        np.testing.assert_allclose(report["recall"], diagonal / counts.sum(axis=1), atol=1e-12)


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
    for correct, n in [(0, 0), (6, 5), (-1, 5), (0.57 * 100, 100), (0.9, 10_000), (1, 2.5)]:
        with pytest.raises(BadInputError, match=f"{correct} right answers of {n}"):
            evaluation.accuracy_interval(correct, n)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 10)), r"received \(0,\)"),
        ([1, 2], np.full((3, 10), 0.1), r"\(2,\) and \(3, 10\)"),
        ([10], np.full((1, 10), 0.1), "such as 10"),
        ([0.5], np.full((1, 10), 0.1), "float64"),
        ([1], np.full((1, 10), np.nan), "Row 0 .* nan"),
        (["Bag"], np.full((1, 10), 0.1), "received <U3, such as Bag"),
        ([1], np.full((1, 10), "0.1"), "Probabilities are numbers"),
    ],
)
def test_bad_input(labels: list[float], probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        evaluation.metrics(labels, probabilities)


NO_PROBABILITIES = {
    "logits": lambda p: np.log(p) + 3,
    "log-probabilities": np.log,
    "per cent": lambda p: 100 * p,
    "a row of zeros": lambda p: p * (np.arange(len(p)) != len(p) // 2)[:, None],
    "NaN": lambda p: np.where(p == p.max(), np.nan, p),
    "one minus": lambda p: 1 - p,
}


@pytest.mark.parametrize("kind", NO_PROBABILITIES)
@pytest.mark.parametrize(
    "measure",
    [
        evaluation.metrics,
        evaluation.class_report,
        evaluation.averages,
        evaluation.confusion,
        evaluation.by_confidence,
        evaluation.risk_coverage,
        evaluation.top_k_accuracy,
        lambda labels, p: evaluation.compare(labels, p, p),
    ],
)
@given(sample=predictions())
def test_what_is_no_probability_is_refused_by_its_row(kind, measure, sample) -> None:  # type: ignore[no-untyped-def]
    labels, probabilities = sample
    with pytest.raises(BadInputError, match=r"Row \d+ is no probabilities: .* the softmax"):
        measure(labels, NO_PROBABILITIES[kind](probabilities))


@given(predictions())
def test_half_precision_and_two_digits_are_probabilities(sample) -> None:  # type: ignore[no-untyped-def]
    labels, probabilities = sample
    evaluation.metrics(labels, probabilities.astype(np.float16))
    sure = np.eye(10)[labels] * 0.98 + 0.002
    evaluation.metrics(labels, sure.round(2))


def test_digits_are_named_as_digits() -> None:
    names = class_names("mnist")
    assert evaluation.class_report([8], np.eye(10)[[8]], names=names).index[8] == "8"
    assert evaluation.confusion([8], np.eye(10)[[8]], names=names).loc["8", "8"] == 1
    with pytest.raises(BadInputError, match="Unknown data set 'kmnist': choose one of fashion"):
        class_names("kmnist")


@given(predictions())
def test_averages_agree_with_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    averaged = evaluation.averages(labels, probabilities)
    for name in ("macro", "weighted"):
        expected = reference.precision_recall_fscore_support(
            labels,
            probabilities.argmax(1),
            labels=np.unique(labels),
            average=name,
            zero_division=0,
        )[:3]
        assert averaged.loc[name].tolist()[:3] == pytest.approx(expected, rel=1e-14)
        assert averaged.loc[name, "support"] == len(labels)


@given(predictions())
def test_the_report_is_scikit_learns(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    report = evaluation.class_report(labels, probabilities)
    expected = reference.precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=range(10), zero_division=0
    )
    *scores, support = expected
    scores = np.where(support > 0, scores, np.nan)
    np.testing.assert_array_equal(report.to_numpy().T, [*scores, support])
    assert report["support"].dtype == int


@given(predictions(), st.integers(1, 9))
def test_top_k_accuracy_agrees_with_scikit_learn(
    sample: tuple[np.ndarray, np.ndarray], k: int
) -> None:
    labels, probabilities = sample
    assert evaluation.top_k_accuracy(labels, probabilities, k=k) == pytest.approx(
        reference.top_k_accuracy_score(labels, probabilities, k=k, labels=range(10))
    )
    assert evaluation.top_k_accuracy(labels, probabilities, k=10) == 1
    assert evaluation.top_k_accuracy(labels, probabilities, k=1) == pytest.approx(
        evaluation.metrics(labels, probabilities)["accuracy"]
    )


@given(predictions(ties=True), st.integers(1, 10))
def test_ties_of_probability_are_broken_as_by_argmax(
    sample: tuple[np.ndarray, np.ndarray], k: int
) -> None:
    labels, probabilities = sample
    # A little more for the earlier classes leaves no ties.
    untied = probabilities - 1e-6 * np.arange(10)
    assert evaluation.top_k_accuracy(labels, probabilities, k=k) == pytest.approx(
        reference.top_k_accuracy_score(labels, untied, k=k, labels=range(10)) if k < 10 else 1
    )


def test_of_equally_probable_classes_the_first_counts() -> None:
    even = np.full((3, 10), 0.1)
    assert evaluation.metrics([0, 1, 2], even)["accuracy"] == pytest.approx(1 / 3)
    assert evaluation.top_k_accuracy([0, 1, 2], even, k=2) == pytest.approx(2 / 3)
    for k in (0, 11):
        with pytest.raises(BadInputError, match=f"between 1 and 10; received {k}"):
            evaluation.top_k_accuracy([0], even[:1], k=k)


def test_one_sample_and_absent_classes() -> None:
    ours = evaluation.metrics([3], np.eye(10)[[3]])
    assert (ours["accuracy"], ours["f1_macro"]) == (1, 1)
    report = evaluation.class_report([3], np.eye(10)[[3]])
    assert report["f1"].dropna().to_dict() == {"Dress": 1}
    assert evaluation.averages([3], np.eye(10)[[3]]).loc["weighted", "f1"] == 1


@given(predictions())
def test_confidence_bins_hold_every_image_once(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    table = evaluation.by_confidence(labels, probabilities)
    assert table["images"].sum() == len(labels)
    accuracy = (table["accuracy"] * table["images"]).sum() / len(labels)
    assert accuracy == pytest.approx(evaluation.metrics(labels, probabilities)["accuracy"])
    assert all(interval.left <= c <= interval.right for interval, c in table["confidence"].items())


@given(predictions())
def test_answering_only_when_sure(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = sample
    table = evaluation.risk_coverage(labels, probabilities)
    assert table["confidence"].is_monotonic_decreasing
    assert table["coverage"].iloc[-1] == 1
    everything = evaluation.metrics(labels, probabilities)["accuracy"]
    assert table["risk"].iloc[-1] == pytest.approx(1 - everything)
    some = len(labels) // 2
    given = probabilities.max(1) >= table["confidence"][some]
    assert given.mean() >= table["coverage"][some] - 1e-12
    order = np.argsort(-probabilities.max(1), kind="stable")[: some + 1]
    wrong = probabilities[order].argmax(1) != labels[order]
    assert table["risk"][some] == pytest.approx(wrong.mean())


def test_paired_comparison_of_a_case_by_hand() -> None:
    labels = np.zeros(100, int)
    right, wrong = np.eye(10)[0], np.eye(10)[1]
    first = np.array([right] * 80 + [wrong] * 20)
    second = np.array([wrong] * 2 + [right] * 88 + [wrong] * 10)
    found = evaluation.compare(labels, first, second)
    assert (found["only_first"], found["only_second"]) == (2, 10)
    assert found["difference"] == pytest.approx(0.08)
    # Two-sided: twice the chance of at most 2 heads in 12 fair coins.
    assert found["p_value"] == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    low, high = found["ci95"]
    deviation = (0.12 - 0.08**2) ** 0.5 / 10
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.1)
    assert evaluation.compare(labels, first, first)["p_value"] == 1


@given(predictions(), st.integers(0, 9))
def test_comparison_turned_around(sample: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    labels, first = sample
    second = np.random.default_rng(seed).permutation(first)
    one, two = evaluation.compare(labels, first, second), evaluation.compare(labels, second, first)
    assert one["difference"] == -two["difference"]
    assert one["p_value"] == pytest.approx(two["p_value"])
    assert (one["only_first"], one["only_second"]) == (two["only_second"], two["only_first"])


def test_the_sample_size_gives_the_power_asked_for() -> None:
    only_first, only_second = 0.02, 0.03
    n = evaluation.mcnemar_sample_size(only_first, only_second)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(n, [only_first, only_second, 0.95], size=1_000)
    significant = [stats.binomtest(int(b), int(a + b)).pvalue < 0.05 for a, b, _ in draws if a + b]
    assert np.mean(significant) == pytest.approx(0.8, abs=0.05)
    for shares in [(0.02, 0.02), (-0.1, 0.2), (0.6, 0.7)]:
        with pytest.raises(BadInputError, match="two different shares"):
            evaluation.mcnemar_sample_size(*shares)


def test_agreement_is_the_share_of_equal_answers() -> None:
    one, two = np.eye(10)[[0, 1, 2, 3]], np.eye(10)[[0, 1, 2, 9]]
    np.testing.assert_allclose(evaluation.agreement([one, two]), [[1, 0.75], [0.75, 1]])


def test_the_report_goes_to_csv_and_latex() -> None:
    labels = np.arange(20) % 10
    report = evaluation.class_report(labels, np.eye(10)[labels])
    assert report.to_csv().splitlines()[1] == "T-shirt/top,1.0,1.0,1.0,2"
    assert r"T-shirt/top & 1.00 & 1.00 & 1.00 & 2 \\" in report.to_latex(float_format="%.2f")
