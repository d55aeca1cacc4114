"""Every way to be let in, with the unmodified openai client, through the local Modal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import modal
import openai
import pytest

from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

APPS = Path(__file__).parent / "apps"
KEY = "first-key-of-the-modes-tests"
OTHER = "second-key-of-the-modes-tests"
PATIENCE_S = 300  # a deadline against hangs, never a measurement
SERVICES = [
    f"{kind}{mode}" for kind in ("Web", "Server") for mode in ("Tokens", "Keys", "Both", "Public")
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A local Modal of its own, with the app deployed and the key in a stored Secret."""
    state = tmp_path_factory.mktemp("state")
    process = PlaneProcess.start(state, namespaces=True)
    try:
        with process.as_environment():
            local = LocalModalFixture(process.exports, process.dashboard)
            store(local, KEY)
            local.command("modal", "deploy", str(APPS / "modes.py"))
            yield local
            local.close()
    finally:
        process.stop()


def store(local, keys: str) -> None:
    local.command(
        *("modal", "secret", "create", "--force", "modalkit-api-key", f"MODALKIT_API_KEY={keys}")
    )


def address(local, service: str) -> str:
    if service.startswith("Server"):
        url = str(modal.Server.from_name("modes", service, client=local.client).get_url())
        return f"{url}/llm" if service == "ServerBoth" else url
    return local.url("modes", f"{service}.http")


def tokens(local) -> dict[str, str]:
    return {
        "Modal-Key": local.environment["MODALKIT_PROXY_KEY"],
        "Modal-Secret": local.environment["MODALKIT_PROXY_SECRET"],
    }


def client(local, service: str, *, key: str = KEY, with_tokens: bool = True) -> openai.OpenAI:
    """The client as docs/endpoints.md writes it; a server that starts says 503 for a while."""
    return openai.OpenAI(
        base_url=f"{address(local, service)}/v1",
        api_key=key,
        default_headers=tokens(local) if with_tokens else {},
        max_retries=100,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_the_openai_client_works_with_everything_that_is_asked(plane, service):
    """With tokens and key, models, a chat and a stream come through, whatever of it is asked for."""
    api = client(plane, service)
    assert [model.id for model in api.models.list()] == [service]
    ask = {"model": service, "messages": [{"role": "user", "content": "one two three"}]}
    whole = api.chat.completions.create(**ask)
    assert "two" in whole.choices[0].message.content
    assert len(list(api.chat.completions.create(**ask, stream=True))) > 3
    assert whole._request_id


@pytest.mark.parametrize("service", SERVICES)
def test_whoever_lacks_something_is_refused(plane, service):
    """Without the tokens, or with another key, the client's own authentication error is raised."""
    client(plane, service).models.list()  # it is up
    lacking = []
    if service.endswith(("Tokens", "Both")):
        lacking.append(client(plane, service, with_tokens=False))
    if service.endswith(("Keys", "Both")):
        lacking.append(client(plane, service, key=OTHER))
    for api in lacking:
        with pytest.raises(openai.AuthenticationError):
            api.models.list()
    if service.endswith("Public"):
        assert client(plane, service, key="-", with_tokens=False).models.list().data


@pytest.mark.parametrize("service", SERVICES)
def test_no_other_route_is_reached(plane, service):
    """Whoever has everything reaches client routes; metrics and what is unknown are not there."""
    client(plane, service).models.list()
    headers = {**tokens(plane), "Authorization": f"Bearer {KEY}"}
    for path in ("/metrics", "/sleep", "/openapi.json", "/v1/load_lora_adapter"):
        answer = httpx.get(address(plane, service) + path, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 404


def test_keys_are_nowhere_to_be_seen(plane):
    """No command line, no engine's variable, no log, plan or error has a key or a token."""
    hidden = (KEY, plane.environment["MODALKIT_PROXY_SECRET"])
    for service in ("WebKeys", "ServerKeys", "ServerBoth"):
        assert client(plane, service).models.list().data
        with pytest.raises(openai.AuthenticationError) as refused:
            client(plane, service, key=f"wrong-{KEY}").models.list()
        assert not held(str(refused.value), hidden)
    processes = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    lines = {folder: text_of(folder / "cmdline") for folder in processes}
    assert not [line for line in lines.values() if held(line, hidden)]
    engines = [folder for folder, line in lines.items() if "modalkit.runtime.echo" in line]
    running = [folder for folder in engines if "guard.py" not in lines[folder]]
    assert running
    assert not [folder for folder in running if held(text_of(folder / "environ"), hidden)]
    state = Path(plane.environment["MODALKIT_LOCAL_STATE"])
    logs = [file for file in state.rglob("*") if file.is_file() and "log" in str(file).lower()]
    assert any("modalkit.access" in text_of(file) for file in logs)
    assert not [file for file in logs if held(text_of(file), hidden)]
    modalkit = str(Path(sys.executable).with_name("modalkit"))
    shown = plane.command(modalkit, "plan", str(APPS / "modes.py"), "--json").stdout
    assert "Bearer keys" in shown
    assert not held(shown, hidden)


def held(text: str, hidden: tuple[str, ...]) -> bool:
    return any(value in text for value in hidden)


def text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError:  # a process that has ended
        return ""


ROTATED = ("WebKeys", "ServerKeys")


def test_keys_are_changed_without_a_deployment(plane):
    """After `modal secret create --force` and `modal app rollover` both keys count, then the new one alone."""
    for service in ROTATED:
        assert admits(plane, service, KEY)
        assert not admits(plane, service, OTHER)
    try:
        change(plane, f"{KEY},{OTHER}")
        for service in ROTATED:
            wait_until(plane, service, OTHER, admitted=True)
            assert admits(plane, service, KEY)
        change(plane, OTHER)
        for service in ROTATED:
            wait_until(plane, service, KEY, admitted=False)
            assert admits(plane, service, OTHER)
    finally:
        change(plane, KEY)
        for service in ROTATED:
            wait_until(plane, service, OTHER, admitted=False)


def change(local, keys: str) -> None:
    store(local, keys)
    local.command("modal", "app", "rollover", "modes")


def wait_until(local, service: str, key: str, *, admitted: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while admits(local, service, key) != admitted:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def admits(local, service: str, key: str) -> bool:
    try:
        return bool(client(local, service, key=key).models.list().data)
    except openai.AuthenticationError:
        return False
