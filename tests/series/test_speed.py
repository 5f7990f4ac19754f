import copy
import json
from pathlib import Path

import pytest

from fmnist_utils import results
from fmnist_utils.errors import FailureError
from fmnist_utils.series import speed
from fmnist_utils.series.pages import markdown_table

NETWORK = {
    "batch_size": 100,
    "parameters": 490_000,
    "gflop_an_image": 0.5,
    "images_a_second": {
        "Keras float32": 200.0,
        "ours float32": 400.0,
        "ours bfloat16": 1_000.0,
        "PyTorch bfloat16, eager": 800.0,
    },
    "products_gflop_a_second": {"float32": 400.0, "bfloat16": 1_000.0},
    "kernels_ms": {
        dtype: [
            # The stem's input is an image, whose gradient nobody needs.
            {
                **{"side": 28, "channels": 1, "filters": 16},
                **{"forward, TensorFlow": 10.0, "forward, PyTorch": 5.0},
                **{"kernel, TensorFlow": 10.0, "kernel, PyTorch": 20.0},
            },
            {
                **{"side": 7, "channels": 64, "filters": 64},
                **{"forward, TensorFlow": 20.0, "forward, PyTorch": 30.0},
                **{"input, TensorFlow": 20.0, "input, PyTorch": 30.0},
                **{"kernel, TensorFlow": 60.0, "kernel, PyTorch": 50.0, "kernel, ours": 40.0},
            },
        ]
        for dtype in ("float32", "bfloat16")
    },
    "answers_a_second": {"1": {"Keras's predict": 10.0, "ours float32": 25.0}},
}
MACHINE = {
    "processor": "Some Processor",
    "cores": 2,
    "flags": ["avx2", "avx512_bf16"],
    "versions": {"tensorflow": "2.21.0", "torch": "2.15.0+cpu"},
    "probe": {
        **{"float32": 2.0, "bfloat16": 1.0, "own_gradient": 1.0, "exchanged_gradient": 0.75},
        **{"bfloat16_pays": True, "exchange_pays": True},
    },
    "networks": {"16": NETWORK},
    "trainings": {"Keras's fit": 100.0, "cnn": 96.0, "fast": 81.0},
    "losses": {
        "float32": [3.0, 2.0],
        "bfloat16": [3.1, 2.1],
        "bfloat16, exchanged": [3.1, 2.11],
    },
}


def test_speeds_are_ratios_and_shares_of_the_limits_in_their_own_type() -> None:
    shown = speed.table(MACHINE).set_index("training")["0.49 M parameters"]
    assert shown.to_dict() == {
        "Keras float32": "1.00",
        "ours float32": "2.00",
        "ours bfloat16": "5.00",
        "PyTorch bfloat16, eager": "4.00",
        "ours float32, share of a matrix product": "50 %",
        "ours bfloat16, share of a matrix product": "50 %",
        # An update of 100 images takes 250 and 100 ms, the fastest kernels 95.
        "ours float32, share of the fastest kernels": "38 %",
        "ours bfloat16, share of the fastest kernels": "95 %",
        "answers to 1: Keras's predict": "1.00",
        "answers to 1: ours float32": "2.50",
    }


def test_the_fastest_kernel_of_each_direction_counts() -> None:
    fastest = speed.fastest_kernels(NETWORK, "bfloat16")
    assert fastest.to_dict("list") == {
        "forward": [5.0, 20.0],
        "input": [0.0, 20.0],
        "kernel": [10.0, 40.0],
    }


def test_a_machine_is_told_by_name_flags_and_what_its_probe_chose() -> None:
    about, table, *rest = speed.markdown([MACHINE]).split("\n\n")
    assert rest == []
    assert "Some Processor" in about
    assert "avx512_bf16" in about
    assert "PyTorch 2.15.0+cpu" in about
    assert "chose mixed_bfloat16" in about
    assert "0.50 of its time in float32" in about
    assert "`cnn` trains to its end in 0.96 of the time" in about
    assert "`fast` in 0.81" in about
    assert table.startswith("| training | 0.49 M parameters |\n| --- | --- |")


def test_machines_are_added_and_never_overwrite_each_other(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    other = {**copy.deepcopy(MACHINE), "flags": ["avx2"]}
    wide = {"32": {**NETWORK, "parameters": 1_940_000}}
    faster = {"16": {**NETWORK, "gflop_an_image": 1.0}}
    for measured in (
        MACHINE,
        other,
        {**MACHINE, "networks": wide},
        {**MACHINE, "networks": faster},
    ):
        speed.add(path, {k: v for k, v in measured.items() if k != "losses"})
    first, second = results.read(path)
    assert second == {k: v for k, v in other.items() if k != "losses"}
    assert first["networks"] == {**faster, **wide}
    assert "losses" not in first
    speed.add(path, MACHINE)
    assert results.read(path)[0]["losses"] == MACHINE["losses"]


def test_what_is_published_is_drawn(tmp_path: Path) -> None:
    measured, folder = tmp_path / "runs.json", tmp_path / "figures"
    measured.write_text(json.dumps([MACHINE]))
    speed.publish(measured, folder)
    assert results.read(folder / "speed.json") == [MACHINE]
    assert sorted(path.name for path in (folder / "speed").iterdir()) == [
        "some-processor-2-avx2-avx512_bf16-losses.png",
        "some-processor-2-avx2-avx512_bf16-time-16.png",
    ]


def test_what_was_not_measured_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="make bench"):
        speed.publish(tmp_path / "speed.json", tmp_path)
    (tmp_path / "speed.json").write_text("[{")
    with pytest.raises(FailureError, match="not JSON"):
        speed.publish(tmp_path / "speed.json", tmp_path)


def test_the_networks_convolutions_are_those_of_the_model() -> None:
    from fmnist_utils import models

    network = models.build("residual", {"filters": [4, 8, 16, 32]})
    found = [
        (layer.input.shape[1], layer.input.shape[3], layer.filters)
        for layer in network.layers
        if "conv" in layer.name
    ]
    assert speed.convolutions(4) == found


def test_a_machine_can_be_told() -> None:
    told = speed.machine()
    assert told["cores"] >= 1
    assert set(told["flags"]) <= set(speed._FLAGS)
    assert "tensorflow" in told["versions"]


def test_a_markdown_table_has_a_line_of_dashes() -> None:
    lines = markdown_table(speed.table(MACHINE)).splitlines()
    assert lines[1] == "| --- | --- |"
    assert lines[2] == "| Keras float32 | 1.00 |"
