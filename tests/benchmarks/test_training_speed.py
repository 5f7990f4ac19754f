"""Images a second of one network in several hands, which take turns, each in its own process.

Keras's own layers, ours, and PyTorch where it is installed (``pip install -e ".[bench]"``); beside
them what this machine can do at most: products of large matrices, and for each convolution the
fastest kernel that any of them has. What is measured goes into ``runs/speed.json``; ``fmnist stamp
--speed runs/speed.json`` takes it into README as this kind of processor's.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest
from contest import BATCH, Contender, take_turns
from pytest_benchmark.fixture import BenchmarkFixture

from fmnist_utils import paths
from fmnist_utils.series import speed

WIDTHS = (16, 32)
TYPES = ("float32", "bfloat16")
SECONDS = 2.0
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
Measured = dict[str, Any]


@contextmanager
def _built(**wanted: tuple[Any, ...]) -> Iterator[dict[str, Contender]]:
    """Give the contenders that can be had here: module, function, arguments, keywords."""
    with ExitStack() as stack:
        contenders = {}
        for name, (module, function, *args) in wanted.items():
            options = args.pop() if args and isinstance(args[-1], dict) else {}
            try:
                contender = Contender(module, function, *args, **options)
            except Exception as error:
                if module != "in_torch":
                    raise
                print(f"{name} is left out: {type(error).__name__}, {str(error).splitlines()[0]}")
            else:
                contenders[name] = stack.enter_context(contender)
        yield contenders


def _training(width: int) -> "pd.Series[float]":
    torch = {
        f"PyTorch {dtype}, {how}": (
            *("in_torch", "update", width),
            {"bfloat16": dtype == "bfloat16", "compiled": how == "compiled"},
        )
        for dtype in TYPES
        for how in ("eager", "compiled")
    }
    wanted = {
        "Keras float32": ("in_keras", "keras_update", width, "float32"),
        "Keras bfloat16": ("in_keras", "keras_update", width, "mixed_bfloat16"),
        "ours, pooling last": ("in_keras", "our_update", width, "auto", {"pool_first": False}),
        "ours float32": ("in_keras", "our_update", width, "float32"),
        "ours bfloat16": ("in_keras", "our_update", width, "mixed_bfloat16"),
        **torch,
    }
    with _built(**wanted) as contenders:
        return BATCH * take_turns(contenders, seconds=SECONDS)


def _answering(width: int, n: int) -> "pd.Series[float]":
    wanted = {
        "Keras's predict": ("in_keras", "keras_answer", width, n),
        "ours float32": ("in_keras", "our_answer", width, n, "float32"),
        "ours bfloat16": ("in_keras", "our_answer", width, n, "mixed_bfloat16"),
        "PyTorch float32": ("in_torch", "answer", width, n, {"bfloat16": False}),
        "PyTorch bfloat16": ("in_torch", "answer", width, n, {"bfloat16": True}),
        "ONNX Runtime": ("in_onnx", "answer", width, n),
    }
    with _built(**wanted) as contenders:
        return n * take_turns(contenders, seconds=SECONDS / 4)


def _kernels(width: int, dtype: str) -> list[Measured]:
    """Return the shortest milliseconds of each kernel of each convolution, over rounds."""
    wanted = {module: (module, "kernels", width, dtype) for module in ("in_keras", "in_torch")}
    with _built(**wanted) as contenders:
        rounds = [contender() for _ in range(3) for contender in contenders.values()]
    rows = []
    for side, channels, filters in speed.convolutions(width):
        found: dict[str, float] = {}
        for timed in rounds:
            for name, milliseconds in timed[side, channels, filters].items():
                found[name] = min(milliseconds, found.get(name, milliseconds))
        rows.append({"side": side, "channels": channels, "filters": filters, **found})
    return rows


def _once(function: str, *args: Any) -> Any:
    with Contender("in_keras", function, *args) as contender:
        return contender()


@pytest.fixture(scope="module")
def machine() -> Measured:
    probe = _once("probe")
    return {
        **speed.machine(),
        "probe": {
            **asdict(probe),
            "bfloat16_pays": probe.bfloat16_pays,
            "exchange_pays": probe.exchange_pays,
        },
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_one_network(width: int, machine: Measured, benchmark: BenchmarkFixture) -> None:
    trained = benchmark.pedantic(_training, args=(width,), rounds=1)
    with _built(**{d: ("in_keras", "matrix_product", d) for d in TYPES}) as products:
        gflops = take_turns(products, seconds=SECONDS) * 2 * 4096**3 / 1e9
    network = {
        "batch_size": BATCH,
        **_once("size", width),
        "images_a_second": trained.to_dict(),
        "products_gflop_a_second": gflops.to_dict(),
        "kernels_ms": {dtype: _kernels(width, dtype) for dtype in TYPES},
        "answers_a_second": {str(n): _answering(width, n).to_dict() for n in (1, BATCH)},
    }
    measured = {**machine, "networks": {str(width): network}}
    speed.add(paths.runs_dir() / "speed.json", measured)
    print("\n" + speed.markdown([measured]))

    for dtype in TYPES:
        ours = trained[f"ours {dtype}"]
        best = max((r for name, r in trained.items() if f"PyTorch {dtype}" in name), default=0.0)
        assert ours >= 1.1 * best or speed.share_of_kernels(network, dtype) >= 0.9
        answered = network["answers_a_second"][str(BATCH)]
        assert answered[f"ours {dtype}"] >= answered.get(f"PyTorch {dtype}", 0)
    assert trained["ours float32"] > trained["Keras float32"]


def test_whole_trainings(machine: Measured) -> None:
    seconds = _once("whole_trainings")
    measured = {**machine, "trainings": seconds}
    speed.add(paths.runs_dir() / "speed.json", measured)
    print("\n" + speed.markdown([measured]))
    assert seconds["fast"] <= seconds["Keras's fit"]
    assert seconds["cnn"] <= 1.1 * seconds["Keras's fit"]


def test_exchanged_gradients_train_alike(machine: Measured) -> None:
    losses = {
        "float32": _once("losses", 16, "float32", False),
        "bfloat16": _once("losses", 16, "mixed_bfloat16", False),
        "bfloat16, exchanged": _once("losses", 16, "mixed_bfloat16", True),
    }
    speed.add(paths.runs_dir() / "speed.json", {**machine, "losses": losses})
    table = pd.DataFrame(losses)
    by_exchange = (table["bfloat16, exchanged"] - table["bfloat16"]).abs()
    by_bfloat16 = (table["bfloat16"] - table["float32"]).abs()
    print(
        f"\nlosses differ by {by_exchange.max():.4f}, and by {by_bfloat16.max():.4f} from float32"
    )
    assert by_exchange.max() <= by_bfloat16.max()
