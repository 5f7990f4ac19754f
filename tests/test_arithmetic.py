import itertools

import pytest

from fmnist_utils import arithmetic, recipes
from fmnist_utils.arithmetic import Arithmetic, Probe

FAST = recipes.get("fast")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets the machine answer as it is told, and the count of askings."""
    asked: list[int] = []

    def say(*seconds: float) -> list[int]:
        def probe() -> Probe:
            asked.append(1)
            return Probe(*seconds)

        monkeypatch.setattr(arithmetic, "probe", probe)
        return asked

    return say


@pytest.mark.parametrize(
    ("float32", "bfloat16", "own", "exchanged", "expected"),
    [
        (2.0, 1.0, 2.0, 1.0, Arithmetic("mixed_bfloat16", exchanged_gradients=True)),
        (2.0, 1.0, 1.0, 2.0, Arithmetic("mixed_bfloat16")),
        (2.0, 1.0, 1.0, 1.0, Arithmetic("mixed_bfloat16")),  # ties
        (1.0, 1.0, 2.0, 1.0, Arithmetic("float32")),
        (1.0, 9.0, 2.0, 1.0, Arithmetic("float32")),
        (1.05, 1.0, 1.0, 1.0, Arithmetic("float32")),  # noise
        (2.0, 1.0, 1.05, 1.0, Arithmetic("mixed_bfloat16")),
    ],
)
def test_auto_is_what_the_machine_is_faster_in(
    answer, float32, bfloat16, own, exchanged, expected
) -> None:
    answer(float32, bfloat16, own, exchanged)
    assert arithmetic.choose(FAST) == expected


def test_a_precision_that_is_named_stays() -> None:
    for precision in ("float32", "mixed_bfloat16"):
        recipe = recipes.override(FAST, precision=precision)
        assert arithmetic.choose(recipe).precision == precision


def test_named_bfloat16_takes_the_faster_gradient_even_where_float32_would_be_faster(
    answer,
) -> None:
    answer(1.0, 9.0, 2.0, 1.0)
    recipe = recipes.override(FAST, precision="mixed_bfloat16")
    assert arithmetic.choose(recipe) == Arithmetic("mixed_bfloat16", exchanged_gradients=True)


def test_float32_and_what_is_deterministic_ask_nothing(answer) -> None:
    asked = answer(9.0, 1.0, 9.0, 1.0)
    assert arithmetic.choose(recipes.get("cnn")) == Arithmetic("float32")
    named = recipes.override(FAST, precision="mixed_bfloat16", deterministic=True)
    assert arithmetic.choose(named) == Arithmetic("mixed_bfloat16")
    assert asked == []


def test_the_machine_is_asked_once_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(arithmetic.time, "perf_counter", lambda: float(next(ticks)))
    for remembers in (arithmetic.probe, arithmetic.tell):
        remembers.cache_clear()
    try:
        # By this clock each call takes one second, so nothing is faster than anything.
        assert arithmetic.probe() == Probe(1.0, 1.0, 1.0, 1.0)
        assert arithmetic.choose(FAST) == Arithmetic("float32")
        taken = next(ticks)
        arithmetic.tell()
        arithmetic.tell()
        assert next(ticks) == taken + 1
    finally:
        for remembers in (arithmetic.probe, arithmetic.tell):
            remembers.cache_clear()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1
    assert "1.0 times" in told[0]
