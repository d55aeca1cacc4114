"""Secrets: from a name, a dict, a file or the environment; checked, kept and never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

VALUE = "do-not-print-me"
LOOK_UP = "import modal; modal.Secret.from_name({!r}, required_keys={!r}).hydrate()"
UPDATE = """
import modal
modal.Secret.objects.create("updated", {"SHOWN_A": "1", "SHOWN_B": "2"})
modal.Secret.from_name("updated").update({"SHOWN_B": "3", "SHOWN_C": "4"})
"""
SHOW = """
import os, modal
app = modal.App("show")
@app.function(secrets=[{}], serialized=True)
def show():
    return {{k: v for k, v in os.environ.items() if k.startswith("SHOWN_")}}
with app.run():
    print(sorted(show.remote().items()))
"""


def test_a_created_secret_reaches_a_container(local):
    """`modal secret create` keeps values that a later command's container gets."""
    assert local("modal", "secret", "create", "mine", f"SHOWN_A={VALUE}").returncode == 0
    done = local("python", "-c", SHOW.format("modal.Secret.from_name('mine')"))
    assert f"[('SHOWN_A', '{VALUE}')]" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "secret",
    [
        "modal.Secret.from_dict({'SHOWN_A': 'x'})",
        "modal.Secret.from_local_environ(['SHOWN_A'])",
    ],
)
def test_secrets_without_a_name(local, secret):
    """Secrets from a dict and from the local environment reach a container."""
    done = local("python", "-c", SHOW.format(secret), SHOWN_A="x")
    assert "[('SHOWN_A', 'x')]" in done.stdout, done.stdout + done.stderr


def test_a_secret_is_created_from_a_json_file(local, tmp_path: Path):
    """`modal secret create --from-json` takes the values of a file."""
    (tmp_path / "a.json").write_text(json.dumps({"SHOWN_A": "json"}))
    done = local("modal", "secret", "create", "one", "--from-json", str(tmp_path / "a.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    done = local("python", "-c", SHOW.format("modal.Secret.from_name('one')"))
    assert "[('SHOWN_A', 'json')]" in done.stdout, done.stdout + done.stderr


def test_dotenv_files(local, tmp_path: Path):
    """`--from-dotenv` and `Secret.from_dotenv` take the values of a file."""
    pytest.importorskip("dotenv", reason="modal reads dotenv files with python-dotenv")
    (tmp_path / "b.env").write_text("SHOWN_B='dotenv'\n")
    done = local("modal", "secret", "create", "two", "--from-dotenv", str(tmp_path / "b.env"))
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in (
        "modal.Secret.from_name('two')",
        f"modal.Secret.from_dotenv({str(tmp_path)!r}, filename='b.env')",
    ):
        done = local("python", "-c", SHOW.format(secret))
        assert "[('SHOWN_B', 'dotenv')]" in done.stdout, done.stdout + done.stderr


def test_overwriting_needs_force(local):
    """A second `create` is refused unless `--force` says so; then the new keys are the keys."""
    assert local("modal", "secret", "create", "mine", "OLD=1").returncode == 0
    done = local("modal", "secret", "create", "mine", "NEW=2")
    assert done.returncode == 1
    assert "exists already" in done.stdout + done.stderr
    assert local("modal", "secret", "create", "mine", "NEW=2", "--force").returncode == 0
    assert local("python", "-c", LOOK_UP.format("mine", ["NEW"])).returncode == 0
    assert "has no OLD" in local("python", "-c", LOOK_UP.format("mine", ["OLD"])).stderr


def test_updating_changes_some_keys(local):
    """`Secret.update` sets the keys it names and leaves the others."""
    assert local("python", "-c", UPDATE).returncode == 0
    done = local("python", "-c", SHOW.format("modal.Secret.from_name('updated')"))
    held = "[('SHOWN_A', '1'), ('SHOWN_B', '3'), ('SHOWN_C', '4')]"
    assert held in done.stdout, done.stdout + done.stderr


def test_listing_and_deleting(local):
    """`modal secret list` names what is there, never a value; `delete` removes it."""
    local("modal", "secret", "create", "mine", f"KEY={VALUE}")
    listed = local("modal", "secret", "list")
    assert "mine" in listed.stdout
    assert VALUE not in listed.stdout + listed.stderr
    assert local("modal", "secret", "delete", "mine", "--yes").returncode == 0
    assert "mine" not in local("modal", "secret", "list").stdout
    done = local("python", "-c", LOOK_UP.format("mine", []))
    assert "There is no secret 'mine'" in done.stderr


def test_missing_keys_are_named_and_values_are_not(local):
    """The error for a secret without a required key names the key and the command, no value."""
    local("modal", "secret", "create", "mine", f"KEY={VALUE}")
    done = local("-v", "python", "-c", LOOK_UP.format("mine", ["KEY", "OTHER"]))
    assert done.returncode == 1
    assert "has no OTHER" in done.stderr
    assert "secret create mine KEY=... OTHER=... --force" in done.stderr
    assert VALUE not in done.stdout + done.stderr


def test_only_the_owner_can_read_the_records(local, state_folder: Path):
    """The state folder and the records in it are closed to everyone else."""
    local("modal", "secret", "create", "mine", "KEY=value")
    records = list(state_folder.glob("*/records.db*"))
    assert records
    assert {path.stat().st_mode & 0o077 for path in records} == {0}
    assert {path.parent.stat().st_mode & 0o077 for path in records} == {0}
