"""Results of spawned calls outlive the plane."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from modalkit.local.calls.results import CallResults
from modalkit.local.protocol import api

SPAWN = (
    "import modal; print(modal.Function.from_name({app!r}, {name!r}).spawn(*{args!r}).object_id)"
)
GET = "import modal; print(repr(modal.FunctionCall.from_id({call!r}).get(timeout=60))[-200:])"


def test_a_result_is_there_after_a_restart(planes, state_folder):
    """What a spawned call returned is found by a plane that was started later, blobs included."""
    state = state_folder / "results"
    first = planes(state)
    first.deploy("calling")
    small = first.python(SPAWN.format(app="calling", name="by_value", args=(1,))).stdout.strip()
    large = first.python(SPAWN.format(app="calling", name="zeros", args=(3 << 20,))).stdout.strip()
    for call in (small, large):
        assert first.python(GET.format(call=call)).returncode == 0
    first.process.terminate()
    assert first.process.wait(60) == 0
    second = planes(state)
    assert second.python(GET.format(call=small)).stdout.strip() == "6"
    count = f"import modal; print(len(modal.FunctionCall.from_id({large!r}).get()))"
    assert second.python(count).stdout.strip() == str(3 << 20)


def test_a_call_lost_in_a_crash_says_so(planes, state_folder):
    """A call that was unfinished when its plane was killed fails with a sentence that says why."""
    state = state_folder / "crashed"
    first = planes(state)
    first.deploy("calling")
    call = first.python(SPAWN.format(app="calling", name="slow", args=("k", 1, 600))).stdout.strip()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(60)
    answer = planes(state).python(GET.format(call=call))
    assert answer.returncode != 0
    assert "was not finished when its local Modal was killed" in answer.stderr


def test_an_unknown_call_is_refused(planes, plane):
    """A made-up id is answered with what is kept and for how long."""
    answer = plane.python(GET.format(call="fc-123456789012345678901234"))
    assert "There is no function call" in answer.stderr
    assert "seven days" in answer.stderr


def _finished(folder: Path, name: str, age_s: float) -> Path:
    head = {"function": "fu-1", "app": "ap-1", "inputs": 1, "plane": os.getpid()}
    item = api.FunctionGetOutputsItem(idx=0, result=api.GenericResult(data=b"kept"))
    body = api.FunctionGetOutputsResponse(outputs=[item]).SerializeToString()
    path = folder / name
    path.write_bytes(json.dumps(head).encode() + b"\n" + body)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


@pytest.mark.parametrize(("age_days", "kept"), [(6, True), (8, False)])
def test_results_are_kept_for_seven_days(tmp_path, age_days, kept):
    """Older ones go when a plane starts."""
    _finished(tmp_path, "fc-old", age_days * 86_400)
    found = CallResults(tmp_path, lambda _pid: False).find("fc-old")
    assert (found is not None) == kept
    if found is not None:
        assert found.outputs.all()[0].result.data == b"kept"


def test_a_call_of_another_plane_on_the_same_folder_is_not_called_lost(tmp_path):
    """While the plane it belongs to runs, the answer names that plane."""
    head = {"function": "fu-1", "app": "ap-1", "inputs": 1, "plane": 4242}
    (tmp_path / "fc-other.open").write_text(json.dumps(head))
    found = CallResults(tmp_path, lambda pid: pid == 4242).find("fc-other")
    assert found is not None
    assert "process 4242" in found.outputs.all()[0].result.exception
