"""``modalkit lock`` as a user runs it: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from modalkit.lock import read_lock, write_lock

from .apps import FOLDER_APP, HUB_APP, QWEN, lock, model_folder


def test_a_hub_model_is_locked(hub_app):
    """Commit, weight files with hashes, facts, GPUs with prices and their date are in the lock."""
    done = lock(hub_app, "chat.py")
    assert done.returncode == 0, done.stderr
    found = read_lock(hub_app / "modalkit.lock")
    service = found.service("chat.py", "Chat")
    assert service.model.commit == "a" * 40
    assert [file.sha256 for file in service.model.files] == [hashlib.sha256(b"weights").hexdigest()]
    assert service.model.facts.layers == 4
    assert service.gpu[0] == "L4"
    assert service.usd_per_hour["L4"] == pytest.approx(0.8, abs=0.01)
    assert found.prices_read_on
    assert service.image.resolved_by == "declared"
    assert any(line.startswith("aiohttp==") for line in service.image.packages)


def test_what_is_locked_stays_until_it_is_upgraded(hub_app, hub):
    """A branch that moved changes nothing; ``--upgrade`` moves, and says from where to where."""
    lock(hub_app, "chat.py")
    text = (hub_app / "modalkit.lock").read_text()
    hub.repositories["org/model"].commit = "b" * 40
    assert "is current" in lock(hub_app, "chat.py").stdout
    assert (hub_app / "modalkit.lock").read_text() == text
    assert lock(hub_app, "chat.py", "--check").returncode == 0
    unknown = lock(hub_app, "chat.py", "--upgrade", "Chatt")
    assert "--upgrade 'Chatt' is not a service of chat.py. It has Chat." in unknown.stderr
    for arguments in (["chat.py", "--upgrade", "Chat"], ["--upgrade", "chat.py"]):
        done = lock(hub_app, *arguments)
        assert done.returncode == 0, done.stderr
        assert (
            read_lock(hub_app / "modalkit.lock").service("chat.py", "Chat").model.commit == "b" * 40
        )
    hub.repositories["org/model"].commit = "c" * 40
    done = lock(hub_app, "--upgrade", "chat.py")
    assert f"chat.py:Chat commit: {'b' * 40} -> {'c' * 40}" in done.stdout


def test_the_check_asks_nobody(hub_app, hub):
    """``--check`` works with the hub down, and fails without a lock."""
    missing = lock(hub_app, "chat.py", "--check")
    assert missing.returncode == 1
    assert "There is no lock" in missing.stderr
    lock(hub_app, "chat.py")
    hub.refuse = (500, {})
    before = len(hub.requests)
    assert lock(hub_app, "chat.py", "--check").returncode == 0
    assert len(hub.requests) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("VLLM()", "VLLM(version='0.33.1', unchecked_flags=True)", "engine was 'vLLM 0.33.0', is"),
        ("context=4096", "context=2048", "gpu was 'fit(context=4096)', is 'fit(context=2048)'"),
        ('"org/model"', '"org/other"', "model was 'org/model', is 'org/other'"),
        ('"3.12"', '"3.13"', "image was 'debian_slim python=3.12', is"),
        ("class Chat", "class Talk", "chat.py:Talk is not locked"),
        ('python="3.12")', 'python="3.12").pip("numpy==2.4.6")', "packages was"),
    ],
)
def test_the_check_says_what_changed(hub_app, old, new, message):
    """Every declaration that the lock depends on makes it stale, by name."""
    lock(hub_app, "chat.py")
    (hub_app / "chat.py").write_text(HUB_APP.replace(old, new))
    done = lock(hub_app, "chat.py", "--check")
    assert done.returncode == 1, done.stderr
    assert message in done.stdout
    assert "is stale. Run: modalkit lock chat.py" in done.stdout


def test_a_model_folder_is_locked_by_its_bytes(folder_app):
    """Every file of a folder has its hash; another byte of the same size is noticed."""
    assert lock(folder_app, "local_app.py").returncode == 0
    model = read_lock(folder_app / "modalkit.lock").service("local_app.py", "Local").model
    assert [file.name for file in model.files] == ["config.json", "model.safetensors"]
    assert lock(folder_app, "local_app.py", "--check").returncode == 0
    model_folder(folder_app, b"v" * 1000)
    done = lock(folder_app, "local_app.py", "--check")
    assert done.returncode == 1
    assert "local_app.py:Local file model.safetensors changed (1,000 -> 1,000 bytes)" in done.stdout
    assert "changed" in lock(folder_app, "local_app.py").stdout
    assert lock(folder_app, "local_app.py", "--check").returncode == 0


def test_stated_facts_are_locked_and_planned(folder_app):
    """A config that nobody can read is no matter where the service states the facts."""
    (folder_app / "model" / "config.json").write_text('{"model_type": "brand_new"}')
    assert "brand_new" in lock(folder_app, "local_app.py").stderr
    stated = (
        "    facts = ModelFacts(name='ours', total_parameters=10**9, active_parameters=10**9,\n"
        "        weight_bytes=2 * 10**9, loaded_bytes=2 * 10**9, max_context=2048, hidden_size=512)\n"
    )
    app = FOLDER_APP.replace("import GPUProfile", "import GPUProfile, ModelFacts") + stated
    (folder_app / "local_app.py").write_text(app)
    done = lock(folder_app, "local_app.py")
    assert done.returncode == 0, done.stderr
    held = read_lock(folder_app / "modalkit.lock").services["local_app.py:Local"]
    assert held.model.facts.total_parameters == 10**9
    assert held.gpu
    assert lock(folder_app, "local_app.py", "--check").returncode == 0
    (folder_app / "local_app.py").write_text(app.replace("2 * 10**9", "9 * 10**9"))
    assert "facts was" in lock(folder_app, "local_app.py", "--check").stdout


STATED = """
    facts = ModelFacts(name="ours", total_parameters=10**9, active_parameters=10**9,
        weight_bytes=2 * 10**9, loaded_bytes=2 * 10**9, max_context=4096, hidden_size=512)
"""


@pytest.mark.parametrize(
    ("text", "commit"),
    [
        (HUB_APP.replace("import VLLM", "import VLLM, ModelFacts") + STATED, "a" * 40),
        (HUB_APP + '    revision = "main"\n', "b" * 40),
    ],
    ids=["facts", "revision"],
)
def test_stating_facts_keeps_the_commit(hub_app, hub, text, commit):
    """Facts are said of what is locked: a branch that moved stays where it was; a revision asks for another."""
    lock(hub_app, "chat.py")
    moved = hub.repositories["org/model"]
    moved.commit, moved.branches["old"] = "b" * 40, "a" * 40
    for app in (text, HUB_APP) if commit == "a" * 40 else (text,):
        (hub_app / "chat.py").write_text(app)
        done = lock(hub_app, "chat.py")
        assert done.returncode == 0, done.stderr
        held = read_lock(hub_app / "modalkit.lock").services["chat.py:Chat"]
        assert held.model.commit == commit
        assert (held.model.facts.name == "ours") is ("facts" in app)


def test_a_folders_other_model_is_fitted_anew(folder_app):
    """New weights of the same model leave the locked GPUs alone; a larger model does not."""
    lock(folder_app, "local_app.py")
    path = folder_app / "modalkit.lock"
    held, key = read_lock(path), "local_app.py:Local"
    chosen = held.services[key].model_copy(update={"gpu": ("L40S",)})
    write_lock(held.model_copy(update={"services": {key: chosen}}), path)
    model_folder(folder_app, b"v" * 1000)
    lock(folder_app, "local_app.py")
    assert read_lock(path).services[key].gpu == ("L40S",)
    larger = QWEN | {"hidden_size": 4096, "intermediate_size": 24_576, "num_hidden_layers": 80}
    (folder_app / "model" / "config.json").write_text(json.dumps(larger))
    done = lock(folder_app, "local_app.py")
    assert done.returncode == 0, done.stderr
    assert "GPUs: L40S -> " in done.stdout


def test_a_fit_says_what_it_leaves_out(hub_app):
    """What a fit does not count is said when it is locked, since its GPUs are chosen there."""
    offloading = 'VLLM(extra_args=("--cpu-offload-gb", "1"))'
    (hub_app / "chat.py").write_text(HUB_APP.replace("VLLM()", offloading))
    assert (
        "--cpu-offload-gb is counted in memory and not in speed" in lock(hub_app, "chat.py").stderr
    )
    (hub_app / "chat.py").write_text(HUB_APP)
    assert "not in speed" not in lock(hub_app, "chat.py").stderr


def test_what_stays_locked_keeps_its_prices_and_their_day(folder_app):
    """Prices are those the GPUs were chosen by: a newer list changes them with the GPUs or by ``--upgrade``."""
    assert lock(folder_app, "local_app.py").returncode == 0
    path = folder_app / "modalkit.lock"
    found = read_lock(path)
    (key, service), listed = *found.services.items(), found.prices_read_on
    older = service.model_copy(update={"usd_per_hour": {"T4": 0.5}})
    write_lock(
        found.model_copy(update={"prices_read_on": "2026-01-31", "services": {key: older}}), path
    )
    (folder_app / "other.py").write_text(FOLDER_APP.replace("Local", "Other"))
    assert lock(folder_app, "local_app.py").returncode == 0
    assert lock(folder_app, "other.py").returncode == 0
    kept = read_lock(path)
    assert kept.prices_read_on == listed
    assert kept.services[key].usd_per_hour == {"T4": 0.5}
    assert kept.priced_on(kept.services[key]) == "2026-01-31"
    assert kept.priced_on(kept.services["other.py:Other"]) == listed
    assert lock(folder_app, "local_app.py", "--upgrade").returncode == 0
    assert read_lock(path).services[key] == service


def test_a_check_upgrades_nothing(folder_app):
    """The two options contradict each other, which is said and not guessed."""
    done = lock(folder_app, "local_app.py", "--check", "--upgrade")
    assert done.returncode == 2
    assert "Leave one of them out" in done.stderr


def test_files_of_one_folder_share_a_lock(folder_app):
    """Locking a second file leaves the first one's services alone."""
    (folder_app / "other_app.py").write_text(FOLDER_APP.replace("Local", "Other"))
    lock(folder_app, "local_app.py")
    lock(folder_app, "other_app.py")
    assert sorted(read_lock(folder_app / "modalkit.lock").services) == [
        "local_app.py:Local",
        "other_app.py:Other",
    ]
    assert lock(folder_app, "local_app.py", "--check").returncode == 0


def test_a_damaged_lock_is_refused_and_can_be_made_anew(folder_app):
    """An edited lock stops lock, check and serve with its line; ``--upgrade`` writes a new one."""
    lock(folder_app, "local_app.py")
    path = folder_app / "modalkit.lock"
    path.write_text(path.read_text().replace('"T4"', '"H100"', 1))
    for arguments in (["local_app.py"], ["local_app.py", "--check"]):
        done = lock(folder_app, *arguments)
        assert done.returncode == 1
        assert "is not what modalkit lock wrote" in done.stderr
        assert "Run: modalkit lock local_app.py" in done.stderr
    served = subprocess.run(
        [sys.executable, "local_app.py"],
        cwd=folder_app,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is not what modalkit lock wrote" in served.stderr
    assert "Run: modalkit lock local_app.py" in served.stderr
    assert lock(folder_app, "local_app.py", "--upgrade").returncode == 0
    assert read_lock(path)


def test_errors_name_their_remedy(hub_app, hub, tmp_path):
    """No file, no service, a missing model folder and an unknown model each say what to do."""
    assert "Name the file" in lock(tmp_path).stderr
    assert "no Python file 'nothing.py'" in lock(tmp_path, "nothing.py").stderr
    (tmp_path / "empty.py").write_text("")
    assert "declares no service" in lock(tmp_path, "empty.py").stderr
    hub.repositories.clear()
    done = lock(hub_app, "chat.py")
    assert "no public model 'org/model'" in done.stderr
    assert not (hub_app / "modalkit.lock").exists()


def test_ctrl_c_leaves_the_old_lock(hub_app, hub):
    """Interrupted while it waits for the hub, the command ends and the old lock is whole."""
    lock(hub_app, "chat.py")
    text = (hub_app / "modalkit.lock").read_text()
    (hub_app / "chat.py").write_text(HUB_APP.replace("org/model", "org/slow"))
    with _silent_server() as url:
        process = subprocess.Popen(
            [sys.executable, "-c", "from modalkit.cli import main; main()", "lock", "chat.py"],
            cwd=hub_app,
            env={**os.environ, "HF_ENDPOINT": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in process.stderr:
            if "asking the hub" in line:
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert (hub_app / "modalkit.lock").read_text() == text
    assert not list(hub_app.glob(".modalkit*"))


class _silent_server:  # noqa: N801 - used as a function
    """A server that accepts and never answers."""

    def __enter__(self) -> str:
        import socket

        self._socket = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
