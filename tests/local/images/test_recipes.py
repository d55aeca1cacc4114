"""From an image's definition to the steps that build it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.images.dockerfile import assignments, filled_in, read_instructions
from modalkit.local.images.recipes import lay_over
from modalkit.local.images.steps import (
    AddFiles,
    CallFunction,
    Install,
    Lacking,
    Recipe,
    RunCommand,
    WriteFile,
)
from modalkit.local.protocol import api


def recipe_of(*commands: str, mount: str = "", files: dict[str, bytes] | None = None) -> Recipe:
    """Return the recipe of a layer with these Dockerfile lines on an ordinary base."""
    image = api.Image(
        base_images=[api.BaseImage(docker_tag="base", image_id="im-base")],
        dockerfile_commands=["FROM base", *commands],
        context_mount_id=mount,
        context_files=[
            api.ImageContextFile(filename=name, data=data) for name, data in (files or {}).items()
        ],
    )
    return lay_over(Recipe(), image, lambda _mount: "")


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("ENV A=1", {"A": "1"}),
        ("ENV A='two words' B=x", {"A": "two words", "B": "x"}),
        ("ENV A the old form", {"A": "the old form"}),
        ("ENV PATH=/bin:$NOWHERE", {"PATH": "/bin:$NOWHERE"}),
        ("ENV A=${NOWHERE:-default}", {"A": "default"}),
    ],
)
def test_env_lines(command, variables):
    """ENV lines are read as Docker reads them."""
    assert recipe_of(command).env == variables


def test_env_refers_to_earlier_lines():
    """A variable may use one set before it."""
    assert recipe_of("ENV A=1", "ENV B=$A/${A}").env == {"A": "1", "B": "1/1"}


def test_lines_are_joined_and_comments_left_out():
    """A backslash, an open quote and a here-document each go on in the next line."""
    lines = ["# a comment", "RUN one \\", "  two", "RUN echo 'a", "b'", "RUN <<EOF", "x", "EOF"]
    read = [(one.name, one.rest) for one in read_instructions(lines)]
    assert read == [("RUN", "one    two"), ("RUN", "echo 'a\nb'"), ("RUN", "x")]


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text("ab $x{}'")))
def test_what_env_sets_is_what_the_client_said(variables):
    """Whatever value the client quotes into an ENV line comes out again, but for `$NAME`."""
    import shlex

    for name, value in variables.items():
        line = f"{name}={shlex.quote(value)}"
        assert assignments(line, {}) == {name: filled_in(value, {})}


def test_settings_of_the_image():
    """WORKDIR, SHELL, ENTRYPOINT and CMD are kept; a relative folder continues the last one."""
    recipe = recipe_of(
        "WORKDIR /a", "WORKDIR 'b c'", 'SHELL ["/bin/bash", "-c"]', 'ENTRYPOINT ["e"]', 'CMD ["c"]'
    )
    assert recipe.workdir == "/a/b c"
    assert recipe.shell == ("/bin/bash", "-c")
    assert (recipe.entrypoint, recipe.command) == (("e",), ("c",))


def test_copies_come_from_the_mount_or_from_the_definition():
    """COPY takes files that came with the definition, else those of the context's mount."""
    recipe = recipe_of(
        "WORKDIR /w",
        "COPY . x",
        "COPY /notes.txt /opt/",
        mount="mo-1",
        files={"/notes.txt": b"hello"},
    )
    assert recipe.steps == (
        AddFiles("mo-1", ".", "/w/x"),
        WriteFile("/opt/notes.txt", b"hello"),
    )


def test_what_modals_own_bases_do_is_left_out():
    """Setting up Modal's base images asks nothing of this machine but a Python series."""
    image = api.Image(
        dockerfile_commands=[
            "FROM python:3.12.10-slim-bookworm",
            "COPY /modal_requirements.txt /modal_requirements.txt",
            "RUN apt-get update",
            "RUN apt-get install -y gcc gfortran build-essential",
            "RUN pip install --upgrade pip wheel uv",
            "RUN uv pip install --system --no-cache --no-deps -r /modal_requirements.txt",
            "RUN echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections",
            "RUN rm /modal_requirements.txt",
            'CMD ["sleep", "172800"]',
        ],
        context_files=[api.ImageContextFile(filename="/modal_requirements.txt", data=b"x")],
    )
    recipe = lay_over(None, image, lambda _mount: "")
    assert recipe.steps == ()
    assert recipe.python == "3.12"


def test_a_registry_image_with_a_python_of_its_own():
    """The files of a registry image are lacking; `add_python` asks for a Python series."""
    image = api.Image(
        dockerfile_commands=["FROM nvidia/cuda:13.0.2", "COPY /python/. /usr/local"],
        context_mount_id="mo-python",
    )
    recipe = lay_over(None, image, lambda _mount: "python-build-standalone.20250311.3.13.2-gnu")
    assert recipe.python == "3.13"
    assert [str(step) for step in recipe.steps] == [
        "the files of the registry image 'nvidia/cuda:13.0.2'"
    ]


def test_a_command_has_its_volumes():
    """`run_commands(volumes=)` gives each of its commands the volumes."""
    mounts = [api.VolumeMount(volume_id="vo-1", mount_path="/weights")]
    lines = ["FROM base", "RUN ls /weights"]
    recipe = lay_over(None, api.Image(dockerfile_commands=lines, volume_mounts=mounts), str)
    (command,) = (step for step in recipe.steps if isinstance(step, RunCommand))
    assert command.volumes == tuple(mounts)


@pytest.mark.parametrize(
    ("command", "requirements", "options"),
    [
        ("python -m pip install 'a<2' b[x]==1", ("a<2", "b[x]==1"), ()),
        ("pip install a --pre --index-url http://x", ("a",), ("--pre", "--index-url", "http://x")),
        (
            "/.uv/uv pip install --python $(command -v python) --compile-bytecode a==1",
            ("a==1",),
            (),
        ),
        ("uv pip install --system --prerelease allow a", ("a",), ("--pre",)),
        (
            'python3 -m pip install "git+https://u:$TOKEN@host/r"',
            ("git+https://u:$TOKEN@host/r",),
            (),
        ),
        ("pip install -r /.requirements.txt", ("c==1", "# why", "d"), ()),
    ],
)
def test_commands_that_install_packages(command, requirements, options):
    """What pip and uv commands install is read from their words."""
    files = {"/.requirements.txt": b"c==1\n# why\nd\n"}
    recipe = recipe_of("COPY /.requirements.txt /.requirements.txt", f"RUN {command}", files=files)
    assert recipe.steps == (Install(requirements, options=options),)


@pytest.mark.parametrize(
    "command",
    [
        "pip install -e .",
        "pip install /wheels/a.whl",
        "pip install a; echo done",
        "pip install -r /elsewhere.txt",
        "cd /app && make",
        "(cd /app && pip install a)",
        "echo 'apt-get install'",
    ],
)
def test_other_commands_run_as_they_stand(command):
    """A command that is not understood whole runs in the image's world."""
    (step,) = recipe_of(f"RUN {command}").steps
    assert isinstance(step, RunCommand)
    assert step.command == command


def test_apt_packages_are_named_and_the_rest_runs():
    """The apt part of a command is named; what follows it runs."""
    steps = recipe_of(
        "RUN apt-get update && apt-get install -y git libx && rm -rf /var/lib/apt/lists/*",
        "RUN apt-get install -y jq && jq --version",
    ).steps
    assert steps[0] == Lacking("apt packages", ("git", "libx"))
    assert steps[1] == Lacking("apt packages", ("jq",))
    assert isinstance(steps[2], RunCommand)
    assert steps[2].command == "jq --version"


def test_a_build_function_is_a_step():
    """`run_function` is the last step of its layer."""
    image = api.Image(build_function=api.BuildFunction(definition="def f(): ..."))
    assert isinstance(lay_over(Recipe(), image, lambda _mount: "").steps[-1], CallFunction)


def test_the_last_stage_of_a_dockerfile_is_the_image():
    """Steps of earlier stages are left out; files copied from them are named."""
    steps = recipe_of(
        "FROM base AS first", "RUN make", "FROM base", "COPY --from=first /out /out"
    ).steps
    assert [str(step) for step in steps] == ["the files of 'first'"]


def test_arguments_are_filled_in():
    """ARG gives a default, `build_args` wins, and commands see both."""
    image = api.Image(
        base_images=[api.BaseImage(docker_tag="base", image_id="im-base")],
        dockerfile_commands=["FROM base", "ARG A=1", "ARG B=2", "ENV C=$A-$B", "RUN echo $A"],
        build_args={"B": "given"},
    )
    recipe = lay_over(Recipe(), image, lambda _mount: "")
    assert recipe.env == {"C": "1-given"}
    (step,) = recipe.steps
    assert isinstance(step, RunCommand)
    assert dict(step.env)["A"] == "1"
