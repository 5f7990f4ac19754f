"""One residual network, one batch size: images a second in training, side by side.

Stock Keras layers in float32 and in mixed_bfloat16, ours, and PyTorch where it is installed; beside
them the machine's own limit, a product of large matrices. What is measured goes into
``runs/speed.json``; ``fmnist stamp`` writes README's table from a copy in ``figures/speed.json``.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from pytest_benchmark.fixture import BenchmarkFixture

from fmnist_utils import models, paths, results, training
from fmnist_utils.files import atomic_write
from fmnist_utils.series import publish_notebooks

BATCH = 256
ROUNDS = 5
SECONDS = 3.0  # a burst of updates lasts at least this long, or one update
WIDTHS = (16, 32)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (BATCH, 28, 28)).astype(np.uint8)
LABELS = RNG.integers(0, 10, BATCH)

Update = Callable[[], object]


def _keras(width: int, *, precision: str, **options: bool) -> Update:
    keras.config.set_dtype_policy(precision)
    try:
        model = models.build("residual", {"filters": _filters(width), **options})
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "categorical_crossentropy",
        jit_compile=False,
    )
    batch = tf.constant(IMAGES), tf.one_hot(LABELS, 10)
    return lambda: model.train_on_batch(*batch)


def _torch(width: int, *, bfloat16: bool) -> Update:
    import torch
    from torch import nn

    def block(before: int, after: int, *, pool: bool = False) -> nn.Module:
        layers = [nn.Conv2d(before, after, 3, padding=1, bias=False)]
        layers += [nn.MaxPool2d(2)] if pool else []
        return nn.Sequential(*layers, nn.BatchNorm2d(after), nn.ReLU())

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            stem, *stages = _filters(width)
            self.stem = block(1, stem)
            self.scaled = nn.ModuleList()
            self.pairs = nn.ModuleList()
            for before, after in zip([stem, *stages], stages, strict=False):
                self.scaled.append(block(before, after, pool=True))
                self.pairs.append(nn.Sequential(block(after, after), block(after, after)))
            self.head = nn.Linear(stages[-1], 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for scaled, pair in zip(self.scaled, self.pairs, strict=True):
                x = scaled(x)
                x = x + pair(x)
            return self.head(x.amax((2, 3)))

    model = Residual().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    images = torch.tensor(IMAGES[:, np.newaxis])
    labels = torch.tensor(LABELS)

    def update() -> float:
        optimizer.zero_grad()
        inputs = (images / 255).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return update


def _filters(width: int) -> list[int]:
    return [width, 2 * width, 4 * width, 8 * width]


def _contenders(width: int) -> Iterator[tuple[str, Update]]:
    ours = "mixed_bfloat16" if training.computes_in_bfloat16() else "float32"
    stock = {"fused": False, "pool_first": False}
    yield "Keras float32", _keras(width, precision="float32", **stock)
    yield "Keras mixed_bfloat16", _keras(width, precision="mixed_bfloat16", **stock)
    yield f"ours, {ours}, pooling last", _keras(width, precision=ours, pool_first=False)
    for precision in ("float32", "mixed_bfloat16"):
        yield f"ours, {precision}", _keras(width, precision=precision)
    try:
        yield "PyTorch float32", _torch(width, bfloat16=False)
        yield "PyTorch bfloat16", _torch(width, bfloat16=True)
    except ImportError:
        print("PyTorch is not installed: pip install torch to see it beside the others.")


def _matrix_product(dtype: tf.DType, *, n: int = 4096) -> Update:
    a, b = (tf.cast(tf.random.normal((n, n)), dtype) for _ in range(2))
    product = tf.function(lambda: tf.matmul(a, b))

    def multiply() -> float:
        return float(product()[0, 0])

    return multiply


def _rate(update: Update) -> float:
    """Return updates a second over a burst."""
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < SECONDS:
        update()
        n += 1
    return n / (time.perf_counter() - start)


def _size(width: int) -> dict[str, float]:
    """Return parameters and what training takes an image: forward, and twice that backward."""
    model = models.build("residual", {"filters": _filters(width)})
    multiplications = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            pixels = np.prod(layer.output.shape[1:-1], dtype=int)
            multiplications += int(pixels) * int(np.prod(layer.kernel.shape))
    gflop = 3 * 2 * multiplications / 1e9
    return {"parameters": model.count_params(), "gflop_an_image": gflop}


@pytest.mark.parametrize("width", WIDTHS)
def test_training_speed_of_one_network(width: int, benchmark: BenchmarkFixture) -> None:
    hardware = training.computes_in_bfloat16()
    precision = tf.bfloat16 if hardware else tf.float32
    updates = dict(_contenders(width))
    limit = f"matrix product, {precision.name}"
    updates[limit] = _matrix_product(precision)
    for update in updates.values():  # tracing, and the first touch of memory
        update()
    rounds: list[dict[str, float]] = []

    def take_turns() -> None:  # so that whatever else the machine does hits all
        rounds.append({name: _rate(update) for name, update in updates.items()})

    benchmark.pedantic(take_turns, rounds=ROUNDS)
    rates = {name: statistics.median(r[name] for r in rounds) for name in updates}
    gflops = rates.pop(limit) * 2 * 4096**3 / 1e9
    measured = {
        "width": width,
        "batch_size": BATCH,
        **_size(width),
        "limit": {"what": limit, "gflop_a_second": gflops},
        "images_a_second": {name: BATCH * rate for name, rate in rates.items()},
        **results.environment(),
    }
    path = paths.runs_dir() / "speed.json"
    others = json.loads(path.read_text()) if path.exists() else []
    with atomic_write(path) as unfinished:
        unfinished.write_text(
            json.dumps([row for row in others if row["width"] != width] + [measured], indent=1)
        )
    print("\n" + publish_notebooks.markdown_table(publish_notebooks.speed_table([measured])))

    ours = rates["ours, mixed_bfloat16" if hardware else "ours, float32"]
    if hardware:
        assert ours >= 3 * rates["Keras float32"]
        assert ours >= 2.2 * rates["Keras mixed_bfloat16"]
        assert ours >= 1.2 * rates.get("PyTorch bfloat16", 0)
        if width >= 32:
            assert ours * BATCH * measured["gflop_an_image"] >= 0.45 * gflops
    else:
        # Without bfloat16 in hardware only the normalisation and the order of pooling are left.
        assert ours > rates["Keras float32"]
