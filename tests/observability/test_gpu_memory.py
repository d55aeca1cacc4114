"""GPU memory through NVML's C interface: a compiled stand-in for the library, since no GPU is here."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modalkit.runtime.observe.gpu_memory import read_gpu_memory, show_gpu_memory
from modalkit.runtime.observe.registry import Registry

STAND_IN = """
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(long)(index + 1);
    return index == 1 ? 3 : 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
    memory->total = 1000 * (long)device;
    memory->used = 10 * (long)device;
    memory->free = memory->total - memory->used;
    return 0;
}
"""


@pytest.fixture
def library(tmp_path):
    """The stand-in as a shared library: three GPUs, the middle one of which is lost."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to make the stand-in with")
    source, made = tmp_path / "nvml.c", tmp_path / "libstandin.so"
    source.write_text(STAND_IN)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    return str(made)


def test_each_gpu_has_its_figures(library):
    """Total and used bytes of every GPU that answers."""
    assert [tuple(one) for one in read_gpu_memory(library)] == [(1000, 10), (3000, 30)]
    registry = Registry("")
    show_gpu_memory(registry, library)
    families = {one.name: one.samples for one in text_string_to_metric_families(registry.page())}
    assert [sample.value for sample in families["gpu_memory_used_bytes"]] == [10, 30]


def test_without_a_driver_there_are_no_figures():
    """A machine without the library has no GPU, and no error."""
    assert read_gpu_memory("libno-such-library.so.1") == ()
