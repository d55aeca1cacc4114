"""Memory of this container's GPUs, asked of NVIDIA's management library by its C interface."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

from .registry import Registry

__all__ = ["GPUMemory", "read_gpu_memory", "show_gpu_memory"]

_LIBRARY = "libnvidia-ml.so.1"


class GPUMemory(NamedTuple):
    """Bytes of one GPU: everything on it, and what is taken by whomever."""

    total: int
    used: int


class _Memory(ctypes.Structure):
    """``nvmlMemory_t``."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def read_gpu_memory(library: str = _LIBRARY) -> Sequence[GPUMemory]:
    """Read the memory of every GPU; none where there is no driver.

    Args:
        library: The shared library to ask.
    """
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return ()
    count = ctypes.c_uint()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return ()
    return [found for index in range(count.value) if (found := _of_one(nvml, index))]


def _of_one(nvml: ctypes.CDLL, index: int) -> GPUMemory | None:
    device, memory = ctypes.c_void_p(), _Memory()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
        return None
    if nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
        return None
    return GPUMemory(memory.total, memory.used)


def show_gpu_memory(registry: Registry, library: str = _LIBRARY) -> None:
    """Add each GPU's memory to a page; it is read when the page is asked for."""
    total = registry.gauge("gpu_memory_total_bytes", "Memory of a GPU.", ("gpu",))
    used = registry.gauge("gpu_memory_used_bytes", "Memory of a GPU that is taken.", ("gpu",))

    def refresh() -> None:
        for index, memory in enumerate(read_gpu_memory(library)):
            total(str(index)).value = memory.total
            used(str(index)).value = memory.used

    registry.before_page(refresh)
