"""Environments: dev and prod apart, and what the client asks about its workspace."""

from __future__ import annotations

import json

import modal
import pytest

FILL = """
import modal
app = modal.App("shop")

@app.function(serialized=True)
def where():
    import modal
    return modal.Dict.from_name("d")["where"]

modal.Dict.from_name("d", create_if_missing=True)["where"] = "dev"
modal.Queue.from_name("q", create_if_missing=True).put(1)
modal.Volume.from_name("v", create_if_missing=True).hydrate()
modal.Secret.objects.create("s", {"KEY": "x"})
app.deploy()
"""
LOOK_UPS = {
    "dict": modal.Dict,
    "queue": modal.Queue,
    "volume": modal.Volume,
    "secret": modal.Secret,
}


def names(plane) -> set[str]:
    listed = plane.modal("environment", "list", "--json")
    return {row["name"] for row in json.loads(listed.stdout)}


@pytest.fixture
def dev(plane):
    """An environment of the test's own, with one of everything in it."""
    assert plane.modal("environment", "create", "dev").returncode == 0
    done = plane.python(FILL, MODAL_ENVIRONMENT="dev")
    assert done.returncode == 0, done.stdout + done.stderr
    yield "dev"
    if "dev" in names(plane):
        plane.modal("environment", "delete", "dev", "--yes")


@pytest.mark.usefixtures("dev")
def test_what_is_in_one_environment_is_not_in_another(client):
    """The same names are found in the environment they were made in, and nowhere else."""
    for name, kind in zip("dqvs", LOOK_UPS.values(), strict=True):
        kind.from_name(name, environment_name="dev", client=client).hydrate()
        with pytest.raises(modal.exception.NotFoundError, match="There is no"):
            kind.from_name(name, environment_name="main", client=client).hydrate()
    function = modal.Function.from_name("shop", "where", environment_name="dev", client=client)
    assert function.remote() == "dev"
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name("shop", "where", client=client).hydrate()


@pytest.mark.usefixtures("dev")
def test_the_same_name_in_two_environments(client):
    """Two environments hold different values under the same name."""
    modal.Dict.from_name("d", create_if_missing=True, client=client)["where"] = "main"
    found = modal.Dict.from_name("d", environment_name="dev", client=client)
    assert found["where"] == "dev"


@pytest.mark.usefixtures("dev")
def test_the_cli_looks_where_e_says(plane):
    """`-e` and `MODAL_ENVIRONMENT` choose the environment of a command."""
    assert "shop" in plane.modal("app", "list", "-e", "dev").stdout
    assert "shop" not in plane.modal("app", "list").stdout
    assert "v" in plane.modal("volume", "list", "--json", MODAL_ENVIRONMENT="dev").stdout
    done = plane.modal("run", "-e", "dev", "hello.py::main")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("dev")
def test_renaming_takes_everything_along(plane, client):
    """What was in an environment is found under its new name."""
    assert plane.modal("environment", "update", "dev", "--set-name", "staging").returncode == 0
    try:
        assert "dev" not in names(plane)
        found = modal.Dict.from_name("d", environment_name="staging", client=client)
        assert found["where"] == "dev"
        function = modal.Function.from_name(
            "shop", "where", environment_name="staging", client=client
        )
        assert function.remote() == "dev"
    finally:
        plane.modal("environment", "delete", "staging", "--yes")


@pytest.mark.usefixtures("dev")
def test_deleting_removes_everything_in_it(plane, client):
    """A deleted environment is gone, and one of the same name made later is empty."""
    done = plane.modal("environment", "delete", "dev", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dev" not in names(plane)
    with pytest.raises(modal.exception.NotFoundError, match="no environment 'dev'"):
        modal.Dict.from_name("d", environment_name="dev", client=client).hydrate()
    plane.modal("environment", "create", "dev")
    for name, kind in zip("dqvs", LOOK_UPS.values(), strict=True):
        with pytest.raises(modal.exception.NotFoundError):
            kind.from_name(name, environment_name="dev", client=client).hydrate()
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name("shop", "where", environment_name="dev", client=client).hydrate()


def test_an_environment_nobody_made_is_refused_with_its_command(plane):
    """Running in an unknown environment is an error that says how to make it."""
    done = plane.modal("run", "-e", "nowhere", "hello.py::main")
    assert done.returncode == 1
    assert "modal environment create nowhere" in (done.stdout + done.stderr).replace("\n", " ")


def test_the_default_environment_stays(plane):
    """`main` can be neither deleted nor renamed, and no two environments share a name."""
    for words in (("delete", "main", "--yes"), ("update", "main", "--set-name", "other")):
        done = plane.modal("environment", *words)
        assert done.returncode == 1
        assert "default one" in done.stdout + done.stderr
    assert "exists already" in plane.modal("environment", "create", "main").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("token", "info"), "of this local Modal"),
        (("profile", "current"), ""),
        (("profile", "list"), "local"),
        (("config", "show"), "127.0.0.1"),
        (("workspace", "members", "list"), "local"),
        (("workspace", "settings", "list"), "main"),
    ],
)
def test_commands_about_the_workspace_say_it_is_local(plane, words, said):
    """What the CLI asks about account and workspace is answered, and says "local"."""
    done = plane.modal(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("words", "rpc"),
    [
        (("endpoint", "list"), "EndpointList"),
        (("billing", "report", "--for", "today"), "WorkspaceBillingReport"),
    ],
)
def test_what_is_not_served_fails_at_once_with_its_name(plane, words, rpc):
    """A command of Modal's cloud alone ends with the name of what is missing."""
    done = plane.modal(*words)
    assert done.returncode == 1
    assert rpc in done.stdout + done.stderr
