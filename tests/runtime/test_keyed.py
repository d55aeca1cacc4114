"""The process that hands a key to a module without showing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

KEY = "sk-not-for-the-process-list"

# Says what it was given, through a file; prints its argv; starts a helper as SGLang does.
MODULE = """
import argparse, json, logging, multiprocessing, os, pathlib, sys

def helper(report):
    report.put({
        "argv": sys.argv[1:],
        "cmdline": pathlib.Path("/proc/self/cmdline").read_bytes().decode(),
        "environment": pathlib.Path("/proc/self/environ").read_bytes().decode(),
    })

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--api-key")
    parser.add_argument("--admin-api-key")
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    report = spawn.Queue()
    child = spawn.Process(target=helper, args=(report,))
    child.start()
    seen = {
        "options": vars(options),
        "cmdline": pathlib.Path("/proc/self/cmdline").read_bytes().decode(),
        "variable": os.environ.get("THE_KEY"),
        "helper": report.get(timeout=60),
    }
    child.join()
    logging.basicConfig(level=logging.INFO, force=True)
    logging.info("started with %s", options)
    print(sys.argv)
    pathlib.Path(options.out).write_text(json.dumps(seen))
"""


def run(folder, *flags, key=KEY):
    (folder / "target.py").write_text(MODULE)
    command = [sys.executable, "-m", "modalkit.runtime.keyed", "--key-variable=THE_KEY", *flags]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    if key is not None:
        environment["THE_KEY"] = key
    return subprocess.run(
        [*command, "target", "--out", str(folder / "seen.json"), "word"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A module that was started with a key, what it saw, and what it printed."""
    folder = tmp_path_factory.mktemp("keyed")
    done = run(folder, "--key-flag=--api-key", "--random-key-flag=--admin-api-key")
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "seen.json").read_text()), done


def test_the_module_gets_its_key_and_its_own_arguments(started):
    """The module's parser finds the key behind its flag, and its other arguments untouched."""
    seen, _ = started
    assert seen["options"]["api_key"] == KEY
    assert seen["options"]["rest"] == ["word"]


def test_the_key_is_not_in_the_process_list(started):
    """Neither the process nor a helper it spawns shows a key in its command line."""
    seen, _ = started
    for cmdline in (seen["cmdline"], seen["helper"]["cmdline"]):
        assert KEY not in cmdline
        assert seen["options"]["admin_api_key"] not in cmdline


def test_a_spawned_helper_has_the_module_and_its_arguments(started):
    """A helper is started from the module itself, with its arguments and without the variable."""
    seen, _ = started
    assert KEY in seen["helper"]["argv"]
    assert KEY not in seen["helper"]["environment"]
    assert seen["variable"] is None


def test_the_other_key_is_random(started, tmp_path):
    """A flag that nobody may use is given a long key, a different one each time."""
    seen, _ = started
    run(tmp_path, "--key-flag=--api-key", "--random-key-flag=--admin-api-key")
    again = json.loads((tmp_path / "seen.json").read_text())
    first, second = (each["options"]["admin_api_key"] for each in (seen, again))
    assert first != second
    assert len(first) >= 32


def test_no_key_is_printed(started):
    """What the module logs or prints of its arguments has *** in place of each key."""
    seen, done = started
    printed = done.stdout + done.stderr
    assert "started with" in printed
    assert "***" in done.stdout
    assert KEY not in printed
    assert seen["options"]["admin_api_key"] not in printed


def test_the_first_of_several_keys_is_used(tmp_path):
    """While keys rotate, a module that takes one key is given the first."""
    run(tmp_path, "--key-flag=--api-key", key="new-key,old-key")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["options"]["api_key"] == "new-key"


@pytest.mark.parametrize("key", [None, "", " , "])
def test_without_a_key_nothing_starts(tmp_path, key):
    """An empty key would open the module to everybody, so it is not started."""
    done = run(tmp_path, "--key-flag=--api-key", key=key)
    assert done.returncode == 2
    assert "'THE_KEY' should hold the API key" in done.stderr
    assert not (tmp_path / "seen.json").exists()
