"""From an empty cache to an answer: prefetched from a hub, verified, served by vLLM, around a snapshot."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from modalkit.declare.cold_start import PHASES, ColdStartRecord

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
FILE = str(ROOT / "tests" / "vllm" / "apps" / "prefetched.py")
NAME = "acme/small-chat"
MODALKIT = str(Path(sys.executable).parent / "modalkit")


@pytest.fixture
def hub():
    """A stand-in hub that has the small chat model, besides files that no engine reads."""
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    try:
        from stand_in_hub import stand_in_hub
    finally:
        sys.path.remove(str(ROOT / "tests" / "hub"))
    folder = ROOT / "examples" / "models" / "small-chat"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with stand_in_hub() as running:
        running.add(NAME, {**files, "README.md": b"...", "original/model.safetensors": b"0" * 9})
        yield running


def test_prefetched_weights_are_served_after_sleep_and_wake(vllm_modal, hub):
    """No weights, no service; prefetched ones are served without the hub, by an engine that has slept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_HUB", hub.url)
        refused = vllm_modal.command("modal", "run", FILE, check=False)
        assert "Serving never downloads. Run: modalkit prefetch" in refused.stdout + refused.stderr
        assert not hub.requests

        told = vllm_modal.command(MODALKIT, "prefetch", FILE, "--json").stdout
        last = json.loads(told.splitlines()[-1])
        assert (last["model"], last["stage"]) == (NAME, "done")
        assert not [path for path in map(str, hub.requests) if "original" in path]

        asked = len(hub.requests)
        served = vllm_modal.command("modal", "run", FILE)
    assert "blue light is scattered" in served.stdout
    assert len(hub.requests) == asked
    said = served.stdout + served.stderr
    assert "POST /sleep?level=1" in said
    assert "POST /wake_up" in said
    assert "snapshots/" + "c" * 40 in said  # the folder that vLLM was given

    (start,) = filter(None, map(ColdStartRecord.of_line, said.splitlines()))
    wanted = ("imports", "weights", "engine", "warm_up", "wake")
    assert [phase for phase in PHASES if phase in start.phases and phase in wanted] == list(wanted)
    assert start.total_s == pytest.approx(sum(start.phases.values()), abs=0.02)
    told = re.search(r"Loading weights took ([\d.]+) sec", said)
    assert start.phases["weights"] >= float(told[1])  # and what the check of the cache took
