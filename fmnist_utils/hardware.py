"""What computes: the processor's name, and whether it has units for bfloat16."""

import platform
from pathlib import Path


def processor() -> str:
    """Return the processor's name, or an empty text where the system does not tell it."""
    # Linux keeps it where `platform` does not look.
    return _cpuinfo().get("model name") or platform.processor()


def has_amx_bf16() -> bool:
    """Return whether the processor has units for matrices of bfloat16 (AMX).

    Only Linux on x86-64 can tell; elsewhere this is False. Without such units float32 is faster:
    bfloat16 is emulated, or is computed by AVX512-BF16, where notebook 10 saw products of large
    matrices and trainings alike take longer than in float32.
    """
    return "amx_bf16" in _cpuinfo().get("flags", "").split()


def _cpuinfo() -> dict[str, str]:
    """Return the lines of ``/proc/cpuinfo`` about one core; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
