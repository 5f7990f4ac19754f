"""What computes: the processor's name, and whether it multiplies bfloat16 in hardware."""

import platform
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


def processor() -> str:
    """Return the processor's name; Linux keeps it where `platform` does not look."""
    return _cpuinfo().get("model name") or platform.processor()


def computes_in_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 matrices itself (AMX, AVX512-BF16).

    Only Linux on x86-64 is asked; elsewhere the answer is no. Without such units bfloat16 is
    emulated, many times slower than float32.
    """
    return not _BFLOAT16_FLAGS.isdisjoint(_cpuinfo().get("flags", "").split())


def _cpuinfo() -> dict[str, str]:
    """Return the lines of ``/proc/cpuinfo`` about one core; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
