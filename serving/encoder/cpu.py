"""What the processor can do that decides which kernels of onnxruntime are exact."""

from __future__ import annotations

from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni"}


@cache
def has_dot_products(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies uint8 by int8 without saturating (x86's VNNI); False where nobody can tell."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not DOT_PRODUCTS.isdisjoint(flags.partition(":")[2].split())
