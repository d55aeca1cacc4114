"""MK402, 404 and 405: where weights come from."""

from __future__ import annotations

from collections.abc import Iterator

from ..commands import SPLICED
from ..declared import ModalFile, Unit
from ..models import Load, loads_of
from ..rule import Problem, rule
from .cost import WEB
from .loading import called_over_many

__all__ = ["downloaded_each_start", "revision_not_pinned", "untrusted_moving_code"]


@rule(
    "MK402",
    "downloaded-each-start",
    "warning",
    why="Every cold start downloads all of it again while the GPU waits.",
)
def downloaded_each_start(file: ModalFile) -> Iterator[Problem]:
    """A hub model on a GPU with neither a Volume nor weights in the image."""
    for unit in file.units:
        if unit.option("gpu") is None or not unit.lacks("volumes", "network_file_systems"):
            continue
        if unit.image is None or unit.image.partial or _brings_weights(unit):
            continue
        if (
            unit.kind == "function"
            and not called_over_many(file, unit)
            and unit.decorator(*WEB) is None
        ):
            continue  # it runs once
        loads = [
            one for one in loads_of(file, unit) if not one.is_small and not _is_local(file, one)
        ]
        for load in loads[:1]:
            yield Problem(
                load.call,
                f"{unit.name} downloads {load.model} at every cold start: it has no Volume.",
                'volumes={"/cache": modal.Volume.from_name("weights", create_if_missing=True)} and HF_HUB_CACHE="/cache".',
            )


def _is_local(file: ModalFile, load: Load) -> bool:
    """Whether a load finds its files where they are, and fetches none."""
    return file.names.constant(load.keyword("local_files_only")) is True


def _brings_weights(unit: Unit) -> bool:
    methods = {step.method for step in unit.image.steps} if unit.image else set()
    base = unit.image.base if unit.image else ""
    return bool(
        methods
        & {"run_function", "run_commands", "dockerfile_commands", "add_local_dir", "copy_local_dir"}
    ) or base not in {"debian_slim", "from_registry", "micromamba"}


@rule(
    "MK404",
    "revision-not-pinned",
    "note",
    why="The repository can change between two cold starts, and with it every answer.",
)
def revision_not_pinned(file: ModalFile) -> Iterator[Problem]:
    """A hub model without ``revision=``."""
    for unit in file.units:
        for load in loads_of(file, unit):
            if load.is_small or _is_local(file, load):
                continue
            if not _is_pinned(file, load) and not _trusts(file, load):
                yield Problem(
                    load.at,
                    f"{load.model} is loaded at whatever its newest commit is.",
                    'revision="40-digit commit".',
                )


_BRANCHES = {"main", "master"}  # names of what is newest


def _is_pinned(file: ModalFile, load: Load) -> bool:
    """Whether a load names a revision that stays, or may name one that is not seen."""
    if load.flags:
        named = "--revision" in load.flags and load.flag("--revision") not in _BRANCHES
        return named or SPLICED in load.flags
    options = file.options(load.call)
    given = options.value("revision")
    if given is not None:
        return file.names.text(given) not in _BRANCHES
    return not options.complete or not _takes_revision(load)


def _takes_revision(load: Load) -> bool:
    return load.is_download or load.by.endswith(
        ("from_pretrained", "vllm.LLM", "EngineArgs", "SentenceTransformer")
    )


def _trusts(file: ModalFile, load: Load) -> bool:
    return (
        file.names.constant(load.keyword("trust_remote_code")) is True
        or "--trust-remote-code" in load.flags
    )


@rule(
    "MK405",
    "untrusted-moving-code",
    "warning",
    why="The repository's newest Python code runs in your container, with your secrets.",
)
def untrusted_moving_code(file: ModalFile) -> Iterator[Problem]:
    """``trust_remote_code`` without a pinned revision."""
    for unit in file.units:
        for load in loads_of(file, unit):
            given = file.options(load.call).given
            if (
                _trusts(file, load)
                and "revision" not in given
                and "--revision" not in load.flags
                and SPLICED not in load.flags
                and "code_revision" not in given
            ):
                yield Problem(
                    load.call,
                    f"{load.model} runs its own code, of whatever commit is newest.",
                    'revision="40-digit commit" beside trust_remote_code=True.',
                )
