"""What computes: the processor's name, and its units for vectors and matrices."""

import platform
from pathlib import Path


def processor() -> str:
    """Return the processor's name, or an empty text where the system does not tell it."""
    # Linux keeps it where `platform` does not look.
    return _cpuinfo().get("model name") or platform.processor()


def vector_flags() -> list[str]:
    """Return the flags of the processor's units for vectors and matrices, such as ``avx512_bf16``.

    They describe a machine; what it is fast in, they do not tell. Only Linux on x86-64 has them.
    """
    flags = _cpuinfo().get("flags", "").split()
    return sorted(flag for flag in flags if flag.startswith(("amx_", "avx")))


def _cpuinfo() -> dict[str, str]:
    """Return the lines of ``/proc/cpuinfo`` about one core; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
