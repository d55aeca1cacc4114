"""An engine's whole start in a container: phases, warm-up, sleep and wake, death while it serves."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import signal
import sys
import threading
import time
from contextlib import redirect_stderr
from typing import ClassVar

import pytest

from modalkit.declare.cold_start import ColdStart, ColdStartRecord
from modalkit.declare.image import ImageSpec
from modalkit.engines import VLLM, Echo, Engine, Launch
from modalkit.errors import EngineError, EngineExitedError, EngineTimeoutError
from modalkit.runtime.engine_host import EngineHost

LAUNCH = Launch(model="echo", served_name="echo", gpu_count=0)

# What it is asked, in order, and answers by its flags; every answer says what it was asked so far.
STAND_IN = """
import http.server, json, os, sys, time
port, ready_after, lines, broken = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]
asked, asleep = [], False
for line in json.loads(lines):
    print(line, flush=True)
time.sleep(ready_after)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        global asleep
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.append(self.path)
        if self.path in ("/sleep?level=1", "/wake_up"):
            asleep = "sleep" in self.path
        if f"dies:{self.path}" in broken:
            print("killed by " + self.path, flush=True)
            os._exit(7)
        status = next((int(one.split()[1]) for one in broken if one.split()[0] == self.path), 200)
        self.answer(503 if asleep and "/v1" in self.path else status)
    def answer(self, status):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(asked).encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class StandIn(Engine):
    """A stand-in for an engine that sleeps; it tells what it was asked."""

    title: ClassVar[str] = "Stand-in"
    sleep_path: ClassVar[str | None] = "/sleep?level=1"
    wake_path: ClassVar[str | None] = "/wake_up"
    start_marks: ClassVar[dict[str, str]] = {
        "weights": r"loaded in ([\d.]+) s",
        "compile": r"(?:compiled|captured) in ([\d.]+) s",
    }

    ready_after: float = 0
    lines: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def image(self) -> ImageSpec:
        return ImageSpec()

    def argv(self, launch: Launch) -> tuple[str, ...]:
        words = (str(launch.port), str(self.ready_after), json.dumps(self.lines), *self.broken)
        return (sys.executable, "-c", STAND_IN, *words)


def host_of(engine: Engine, **options) -> EngineHost:
    timeout_s = options.pop("timeout_s", 60)
    return EngineHost(engine, options.pop("launch", LAUNCH), timeout_s, **options)


def asked(host: EngineHost) -> list[str]:
    """What the stand-in was asked so far."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    connection.request("GET", "/")
    return json.loads(connection.getresponse().read())


def record_of(text: str) -> ColdStartRecord:
    (found,) = filter(None, map(ColdStartRecord.of_line, text.splitlines()))
    return found


@pytest.mark.parametrize("count", [1, 4])
def test_ready_means_that_real_requests_were_answered(count):
    """The readiness route does not suffice: so many real requests come before the first user's."""
    host = host_of(StandIn(), cold_start=ColdStart(warm_up=count))
    host.start()
    try:
        assert asked(host) == ["/v1/chat/completions"] * count
    finally:
        host.stop_process()


def test_an_engine_is_warmed_up_with_what_its_model_takes():
    """A model that does not chat or complete is asked for embeddings."""
    broken = ("/v1/chat/completions 400", "/v1/completions 404")
    host = host_of(StandIn(broken=broken), cold_start=ColdStart(warm_up=2))
    host.start()
    try:
        assert asked(host)[-2:] == ["/v1/embeddings"] * 2
    finally:
        host.stop_process()


ALL = ("chat/completions", "completions", "embeddings", "rerank", "score", "classify")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (tuple(f"/v1/{name} 404" for name in ALL), "refused every request"),
        (("/v1/chat/completions 500",), "failed at a request that warms it up.*500"),
        (("dies:/v1/chat/completions",), "exit code 7(.|\n)*killed by /v1/chat/completions"),
    ],
)
def test_an_engine_that_is_up_but_does_not_work_fails_the_start(broken, message):
    """Each way is an error that says what happened, and no process is left."""
    host = host_of(StandIn(broken=broken))
    with pytest.raises(EngineError, match=message):
        host.start()
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, by platform
        asked(host)


def test_a_program_that_is_not_there_is_named():
    """A Python that the container lacks fails the start with its path and what to write instead."""
    host = host_of(VLLM(interpreter="/no/such/python"))
    with pytest.raises(
        EngineError, match=r"vLLM cannot be .* no program '/no/such/python'.*interpreter"
    ):
        host.start()


def test_a_full_queue_is_an_answer():
    """An engine that is busy from the first moment has proven that it answers."""
    host = host_of(StandIn(broken=("/v1/chat/completions 429",)), cold_start=ColdStart(warm_up=1))
    host.start()
    host.stop_process()


def test_the_start_is_one_line_with_its_phases():
    """What the engine tells of its weights and kernels is taken out of its own share."""
    lines = (
        "worker 0: loaded in 0.10 s",
        "worker 1: loaded in 0.20 s",
        "compiled in 0.11 s",
        "captured in 0.05 s",
        "compiled in 0.12 s",
    )
    output = io.StringIO()
    with redirect_stderr(output):
        host = host_of(
            StandIn(lines=lines, ready_after=0.6),
            cold_start=ColdStart(budget_s=3600),
            service="Chat",
        )
        host.start()
    host.stop_process()
    record = record_of(output.getvalue())
    assert record.service == "Chat"
    # Of what is said again the longest counts: workers load side by side. Different things add up.
    assert record.phases["weights"] == pytest.approx(0.20, abs=0.02)
    assert record.phases["compile"] == pytest.approx(0.17, abs=0.001)
    assert record.phases["engine"] >= 0.1
    assert record.phases["warm_up"] > 0
    assert record.total_s == pytest.approx(sum(record.phases.values()), abs=0.02)
    assert record.within_budget


def test_an_engine_sleeps_through_the_snapshot_and_answers_after_it():
    """Before: started, warmed up, asleep. After: awake, and asked once to prove it."""
    output = io.StringIO()
    launch = LAUNCH.model_copy(update={"gpu_count": 1})
    with redirect_stderr(output):
        host = host_of(StandIn(), launch=launch, cold_start=ColdStart(snapshot="gpu", warm_up=2))
        host.before_snapshot()
        assert asked(host) == ["/v1/chat/completions"] * 2 + ["/sleep?level=1"]
        assert "modalkit.cold_start" not in output.getvalue()
        host.after_snapshot()
        assert asked(host)[3:] == ["/wake_up", "/v1/chat/completions"]
    host.stop_process()
    record = record_of(output.getvalue())
    assert not record.restored
    assert {"engine", "warm_up", "snapshot", "wake"} <= set(record.phases)


def test_a_restored_container_tells_only_its_own_time(monkeypatch):
    """After a restore the phases are those since the new container began, which its id tells."""
    monkeypatch.setenv("MODAL_TASK_ID", ulid(time.time() - 100))
    output = io.StringIO()
    with redirect_stderr(output):
        host = host_of(Echo(), cold_start=ColdStart(snapshot="cpu"))
        host.before_snapshot()
        monkeypatch.setenv("MODAL_TASK_ID", ulid(time.time() - 2))
        host.after_snapshot()
    host.stop_process()
    record = record_of(output.getvalue())
    assert record.restored
    assert set(record.phases) == {"restore", "wake"}
    assert 2 <= record.phases["restore"] < 60
    assert record.container == os.environ["MODAL_TASK_ID"]


def ulid(at: float) -> str:
    """A container's id as Modal writes it, made at a time."""
    digits, left = "", int(at * 1000)
    for _ in range(10):
        digits, left = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[left % 32] + digits, left // 32
    return f"ta-{digits}{'0' * 16}"


def test_an_engine_waits_for_its_gpu_until_after_a_snapshot_of_the_cpu():
    """Modal gives no GPU to a container whose CPU memory alone it keeps."""
    launch = LAUNCH.model_copy(update={"gpu_count": 1})
    host = host_of(StandIn(), launch=launch, cold_start=ColdStart(snapshot="cpu", warm_up=1))
    host.before_snapshot()
    with pytest.raises(EngineError, match="has not been started"):
        _ = host.client
    host.after_snapshot()
    assert asked(host) == ["/v1/chat/completions"]
    host.stop_process()


@pytest.mark.parametrize("path", ["/sleep?level=1", "/wake_up"])
def test_an_engine_that_does_not_sleep_or_wake_fails_the_start(path):
    """The route, its answer and the remedy are named, and no process is left."""
    launch = LAUNCH.model_copy(update={"gpu_count": 1})
    engine = StandIn(broken=(f"{path} 404",))
    host = host_of(engine, launch=launch, cold_start=ColdStart(snapshot="gpu"))
    with pytest.raises(EngineError, match=r"(?s)POST /.* with 404.*ColdStart\(snapshot=None\)"):
        both_sides(host)
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, by platform
        asked(host)


def both_sides(host: EngineHost) -> None:
    host.before_snapshot()
    host.after_snapshot()


def test_a_death_while_serving_ends_the_container_with_the_reason_in_the_log():
    """Whoever runs the container is told once, and the log says how and with which last lines."""
    left = threading.Event()
    output = io.StringIO()
    with redirect_stderr(output):
        host = host_of(Echo(), leave=left.set)
        host.start()
        assert host._process is not None
        os.kill(host._process.pid, signal.SIGSEGV)
        assert left.wait(30)
    assert "Echo ended with signal 11. Its last lines:\n  ready: echo" in output.getvalue()
    host.stop_process()


def test_a_container_that_stops_is_not_told_to_leave():
    """An engine that was asked to stop has not died."""
    left = threading.Event()
    host = host_of(Echo(), leave=left.set)
    host.start()
    host.stop_process()
    assert not left.is_set()


def test_a_death_in_the_middle_of_a_request_is_its_error():
    """The request that was under way gets the exit code and last lines, not a closed connection."""
    host = host_of(Echo(delay_ms=200))
    host.start()

    async def ask() -> None:
        body = {"messages": [{"role": "user", "content": "a b c d e f g h"}]}
        answer = asyncio.create_task(host.client.post("/v1/chat/completions", body))
        await asyncio.sleep(0.5)
        os.kill(host._started.pid, signal.SIGKILL)
        try:
            await answer
        finally:
            await host.client.close()

    with pytest.raises(EngineExitedError, match=r"signal 9(.|\n)*ready: echo"):
        asyncio.run(ask())
    host.stop_process()


def test_requests_under_way_finish_within_the_grace_period():
    """Stopping asks the engine, whose open answer comes whole before it ends."""
    host = host_of(Echo(delay_ms=100))
    host.start()

    async def ask() -> dict:
        body = {"messages": [{"role": "user", "content": "a b c d e f g h i j"}]}
        answer = asyncio.create_task(host.client.post("/v1/chat/completions", body))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(host.stop_process)
        return await answer

    said = asyncio.run(ask())["choices"][0]["message"]["content"]
    assert said == "a b c d e f g h i j"


def test_the_warm_up_counts_as_part_of_the_start_up_timeout():
    """An engine that is up and never answers ends the start with an error, in time."""
    with pytest.raises((EngineError, EngineTimeoutError)):
        host_of(Echo(ttft_ms=60_000), timeout_s=3).start()
