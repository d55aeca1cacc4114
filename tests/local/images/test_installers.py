"""How packages are installed: whose options, whose configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.local.images.environments import Environment, find_interpreter
from modalkit.local.images.installers import Installer
from modalkit.local.images.steps import Install


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """The place of an environment; nothing is in it."""
    return Environment(tmp_path / "python")


def command(installer: Installer, environment: Environment, *options: str) -> str:
    """Return the words of the command for a step with these options."""
    step = Install(("a",), options=options)
    return " ".join(installer.command(step, environment, Path("r.txt"), Path("c.txt")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pre",), "--prerelease allow"),
        (("--index-url", "http://x"), "--index-url http://x"),
        (("--force-reinstall",), "--reinstall"),
    ],
)
def test_uv_gets_its_own_words(environment, options, said):
    """Options of pip are said in uv's words."""
    words = command(Installer("/bin/uv"), environment, *options)
    assert words.startswith("/bin/uv pip install --python ")
    assert words.endswith(said)


def test_an_option_that_only_pip_has_decides_for_pip(environment):
    """An installer is not asked for what it does not know."""
    words = command(Installer("/bin/uv"), environment, "--no-clean")
    assert " -m pip --python " in words
    assert words.endswith("--no-clean")


def test_pip_is_spared_what_only_uv_has(environment):
    """An option of uv is left out where there is only pip."""
    words = command(Installer(""), environment, "--index-strategy", "first-index", "--pre")
    assert "--index-strategy" not in words
    assert words.endswith("--pre")


def test_requirements_are_never_words_of_the_command(environment):
    """A token in a requirement stays out of the process list."""
    assert " a" not in command(Installer(""), environment).split("install")[1]


def test_uv_is_told_pips_configuration(tmp_path, monkeypatch):
    """With uv, packages are taken from where pip takes them; variables win over files."""
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = http://from-file\nfind-links = /one /two\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "http://from-variable")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    found = Installer("/bin/uv").environment({"COLOR": "red", "PATH": "/nowhere"})
    assert found["UV_DEFAULT_INDEX"] == "http://from-variable"
    assert found["UV_FIND_LINKS"] == "/one,/two"
    assert found["COLOR"] == "red"
    assert found["PATH"] != "/nowhere"
    assert "UV_DEFAULT_INDEX" not in Installer("").environment({})


def test_an_interpreter_must_run_and_be_what_it_is_called(tmp_path):
    """A stale link or another version is not taken for the wanted one."""
    import sys

    series = "{}.{}".format(*sys.version_info)
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    found = find_interpreter(series, ["/nowhere/python", str(broken), sys.executable])
    assert found is not None
    assert find_interpreter("3.99", [str(broken), sys.executable]) is None
