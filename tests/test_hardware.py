from pathlib import Path

import pytest

from fmnist_utils import hardware

CPUINFO = """processor\t: 0
model name\t: Some Processor @ 2.00GHz
flags\t\t: fpu sse avx512f avx512_bf16 amx_bf16
"""


def test_processor_and_flags_are_read_where_linux_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: CPUINFO)
    assert hardware.vector_flags() == ["amx_bf16", "avx512_bf16", "avx512f"]
    assert hardware.processor() == "Some Processor @ 2.00GHz"


def test_where_there_is_no_cpuinfo_no_flag_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert hardware.vector_flags() == []
    assert hardware.processor() == "arm"
