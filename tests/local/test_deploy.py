"""Deploying, serving, and what stays afterwards."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import httpx

from modalkit.local.store.database import Database
from modalkit.local.store.records import Records

APPS = Path(__file__).parent / "apps"
PATIENCE_S = 120
CALL = "import modal; print(modal.Function.from_name('hello', 'square').remote(11))"


def read_until(process, pattern: str) -> re.Match[str]:
    """Read a process's output up to a line that matches."""
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    message = f"the output ended before {pattern!r}"
    raise AssertionError(message)


def test_a_deployed_function_is_called_by_name_in_a_later_command(local):
    """Deployed apps survive the plane that deployed them."""
    assert local("modal", "deploy", "hello.py").returncode == 0
    done = local("python", "-c", CALL)
    assert done.stdout == "121\n", done.stderr
    assert "hello" in local("modal", "app", "list").stdout
    assert local("modal", "app", "stop", "hello", "-y").returncode == 0
    gone = local("python", "-c", CALL)
    assert "No app 'hello' is deployed" in gone.stderr


def test_a_command_may_deploy_and_call(local):
    """One command can deploy and use the app in the same plane."""
    script = (
        f'{sys.executable} -m modal deploy hello.py > /dev/null && {sys.executable} -c "{CALL}"'
    )
    assert local("sh", "-c", script).stdout == "121\n"


def test_deployed_web_endpoints_answer_until_ctrl_c(start_local):
    """After the deploy the endpoints stay, the URL is printed, and Ctrl-C ends it cleanly."""
    process = start_local("modal", "deploy", "web.py")
    url = read_until(process, r"local modal \| double answers at (\S+)")[1]
    read_until(process, "Ctrl-C to stop")
    assert httpx.get(url, params={"number": 1}, timeout=60).json() == {"double": 2}
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0


def test_exit_does_not_stay(local):
    """--exit ends with the command, endpoints or not."""
    assert local("--exit", "modal", "deploy", "web.py").returncode == 0


def test_serve_reloads_when_the_file_changes(start_local, wait_until, tmp_path: Path):
    """`modal serve` answers with the new code after an edit, at the same URL."""
    source = tmp_path / "served.py"
    source.write_text(
        "import modal\napp = modal.App('served')\n\n@app.function()\n"
        "@modal.fastapi_endpoint()\ndef say():\n    return 'before'\n"
    )
    process = start_local("modal", "serve", str(source))
    url = read_until(process, r"(http://127.0.0.1:\d+)")[1]
    assert httpx.get(url, timeout=60).json() == "before"
    source.write_text(source.read_text().replace("before", "after"))
    wait_until(lambda: httpx.get(url, timeout=60).json() == "after", "the new code answers")
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(PATIENCE_S) == 0


def test_a_redeployed_function_runs_the_new_code(local, tmp_path: Path):
    """Deploying again replaces the code under the same name."""
    source = tmp_path / "hello.py"
    shutil.copy(APPS / "hello.py", source)
    local("modal", "deploy", str(source))
    source.write_text(source.read_text().replace("number * number", "number + 1"))
    local("modal", "deploy", str(source))
    assert local("python", "-c", CALL).stdout == "12\n"


def test_an_app_whose_version_is_lost_does_not_hide_the_others(local, tmp_path: Path):
    """`modal app list` names apps at rest, and one that nothing is known of any more too."""
    state = ["--state", str(tmp_path / "state")]
    for name in ("whole", "lost"):
        source = tmp_path / f"{name}.py"
        source.write_text(
            f"import modal\napp = modal.App({name!r})\n@app.function()\ndef f(): ...\n"
        )
        assert local(*state, "modal", "deploy", str(source)).returncode == 0
    records = Records(Database(tmp_path / "state" / "records.db"))
    records.delete(f"{records.by_name('app', 'main', 'lost').id}/v1")
    records.close()
    done = local(*state, "modal", "app", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert {name for row in json.loads(done.stdout) for name in row.values()} >= {"whole", "lost"}
