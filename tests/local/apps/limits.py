"""Functions with limits."""

import os
import time

import modal

app = modal.App("limits")


@app.function(memory=(64, 256))
def fill(mib: int) -> int:
    return len(bytearray(os.urandom(1024)) * 1024 * mib)


@app.function(cpu=(0.1, 0.25))
def spin(processor_s: float) -> float:
    """Return how many processors it had on average."""
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() - used < processor_s:
        pass
    return (time.process_time() - used) / (time.perf_counter() - began)
