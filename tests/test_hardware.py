from pathlib import Path

import pytest

from fmnist_utils import hardware

CPUINFO = """processor\t: 0
model name\t: Some Processor @ 2.00GHz
flags\t\t: fpu sse avx512f {flag}
"""


@pytest.mark.parametrize(
    ("flag", "expected"), [("amx_bf16", True), ("avx512_bf16", False), ("amx_int8", False)]
)
def test_bfloat16_is_read_off_the_flags(
    monkeypatch: pytest.MonkeyPatch, flag: str, expected: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: CPUINFO.format(flag=flag))
    assert hardware.has_amx_bf16() is expected
    assert hardware.processor() == "Some Processor @ 2.00GHz"


def test_where_there_is_no_cpuinfo_float32_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert hardware.has_amx_bf16() is False
    assert hardware.processor() == "arm"
