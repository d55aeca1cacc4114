"""What building an image is made of, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..protocol import api

__all__ = [
    "AddFiles",
    "CallFunction",
    "Install",
    "Lacking",
    "Recipe",
    "RunCommand",
    "Step",
    "WriteFile",
]


@dataclass(frozen=True, slots=True)
class AddFiles:
    """Copy what matches ``source`` in a mount to ``destination``."""

    mount_id: str
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write one file that came with the image's definition."""

    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Install:
    """Install Python packages.

    Attributes:
        requirements: Lines of a requirements file; ``$NAME`` is filled in from the step's variables
            by the installer, so that a token never stands in a command line.
        constraints: Pins from a lock file.
        options: What else stood in the command, in pip's words.
        env: Variables of the image at this point.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command in the image's world, with the variables and the folder it has at this point.

    Attributes:
        volumes: What it sees at paths of its own; none of it is part of the image.
    """

    command: str
    shell: tuple[str, ...]
    workdir: str
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[api.VolumeMount, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFunction:
    """Run the build function in a container of the image so far."""

    input: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lacking:
    """A part that only a container engine could bring.

    Attributes:
        names: What it consists of, when it counts as there if this machine has it all.
        kind: What it is, in the user's words.
    """

    kind: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {', '.join(self.names)}".strip()


Step = AddFiles | WriteFile | Install | RunCommand | CallFunction | Lacking


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image says, from its base up.

    Attributes:
        env: Variables; ``$PATH`` in a value stands for this machine's.
        args: Build arguments in force.
        shell: What runs the commands of RUN.
        python: The Python series asked for, such as ``"3.12"``; empty for any.
        entrypoint: The container's first words, for a sandbox.
        command: The words after that.
        steps: What this image adds to its base.
    """

    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/root"
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    python: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
