"""A run that is killed at any byte: what it left is whole, and the next one goes on from it."""

from __future__ import annotations

import hashlib
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modalkit.prefetch.files import SourceFile
from modalkit.prefetch.parts import BLOCK, SEGMENT, Part

RUN = """
import sys
from pathlib import Path
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import Wanted
for _ in fill(Path(sys.argv[1]), Wanted(model="org/model"), lambda: HubSource("org/model", "main")):
    pass
"""
PATIENCE_S = 120


def resumed_at(root: Path, files: dict[str, bytes]) -> dict[tuple[str, int], int]:
    """Where each segment that has begun goes on, by file and segment, as the marks say."""
    folder = root / "modalkit/parts/org--model"
    found = {}
    for name, content in files.items():
        marks = folder / f"{hashlib.sha256(content).hexdigest()}.{len(content)}.marks"
        if marks.exists():
            for segment, (mark,) in enumerate(struct.iter_unpack("<Q", marks.read_bytes())):
                found[name, segment] = segment * SEGMENT + mark
    return found


def asked_at(hub) -> dict[tuple[str, int], int]:
    """Where each segment was first asked for since the last look, by file and segment."""
    found: dict[tuple[str, int], int] = {}
    for _, path, asked in hub.requests:
        if path.startswith("/cdn/"):
            first = int((asked or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            found.setdefault((path.rpartition("/")[2], first // SEGMENT), first)
    hub.requests.clear()
    return found


def kill_after(hub, sent: int, root: Path) -> int:
    """Run until the hub has sent so much, kill it, and return the exit code."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(root)])
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and hub.sent < sent and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def test_killed_twenty_times(cache, large_model, hub):
    """Killed at twenty random bytes it goes on at its marks each time, and ends complete and verified."""
    chance, total = random.Random(4), sum(map(len, large_model.values()))
    hub.rate = 8 << 20
    for _ in range(20):
        marks = resumed_at(cache.root, large_model)
        sent = hub.sent + chance.randint(1, total // 25)
        assert kill_after(hub, sent, cache.root) == -signal.SIGKILL
        assert not list(cache.root.glob("modalkit/manifests/*"))
        asked = asked_at(hub)
        assert {key: first for key, first in asked.items() if key in marks} == {
            key: marks[key] for key in asked if key in marks
        }
    hub.rate = 0
    told = cache.fill()[-1]
    assert told.stage == "done"
    assert told.fetched_bytes < total
    assert cache.contents() == large_model


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, BLOCK)), max_size=30), st.data())
def test_a_part_knows_what_was_written(tmp_path_factory, writes, data):
    """Whatever was written in whatever order, another run finds exactly that, and the same digest."""
    folder = tmp_path_factory.mktemp("parts")
    file = SourceFile("a", 2 * SEGMENT + 100)
    part = Part(folder, "a", file)
    kept = [0, 0, 0]
    for segment, count in writes:
        start, end = part.missing(segment)
        size = min(count, end - start)
        part.write(segment, memoryview(bytes([segment + 1]) * size))
        kept[segment] += size
        if data.draw(st.booleans()):
            part.close()
            part = Part(folder, "a", file)
            assert part.resumed == sum(kept)
    for segment, done in enumerate(kept):
        assert part.missing(segment)[0] == segment * SEGMENT + done
    assert part.is_whole == (sum(kept) == file.size)
    part.discard()
    assert not list(folder.iterdir())
