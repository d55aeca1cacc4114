"""MK101 to MK104: what stands in ``gpu=``."""

from __future__ import annotations

from collections.abc import Iterator

from ..._wording import did_you_mean, one_of
from ...declare.catalogue import catalogue_date, gpu_catalogue
from ..declared import ModalFile
from ..graphics import gpu_strings, split_count
from ..rule import Problem, rule

__all__ = ["any_gpu", "gpu_not_a_string", "impossible_count", "unknown_gpu"]


@rule(
    "MK101",
    "unknown-gpu",
    "error",
    why="Modal looks at the string only when the app is deployed, after the image was built.",
)
def unknown_gpu(file: ModalFile) -> Iterator[Problem]:
    """A GPU type that is not in Modal's catalogue."""
    known = gpu_catalogue()
    for at, value in gpu_strings(file):
        if not isinstance(value, str):
            continue
        name, count = split_count(value)
        if name in known or name.lower() == "any":
            continue
        hint = did_you_mean(name, known)
        near = hint.partition("'")[2].partition("'")[0]
        cure = f"gpu={near + (':' + count if count else '')!r}" if near else one_of(_names())
        yield Problem(
            at,
            f"gpu={value!r}: {name!r} is not a GPU type of Modal's (catalogue of {catalogue_date()}).{hint}",
            f"{cure}." if near else f"One of {cure}.",
        )


def _names() -> list[str]:
    return list(dict.fromkeys(gpu.name for gpu in gpu_catalogue().values()))


@rule(
    "MK102",
    "impossible-gpu-count",
    "error",
    why="Modal refuses the count when the app is deployed, or no machine ever has so many.",
)
def impossible_count(file: ModalFile) -> Iterator[Problem]:
    """A count after the colon that Modal does not offer for the card."""
    for at, value in gpu_strings(file):
        if not isinstance(value, str):
            continue
        name, count = split_count(value)
        gpu = gpu_catalogue().get(name)
        if gpu is None or count is None:
            continue
        most = gpu.max_count
        if not count.isdecimal() or int(count) < 1:
            yield Problem(
                at, f"gpu={value!r}: {count!r} is not a number of GPUs.", f"gpu={name + ':2'!r}."
            )
        elif most is not None and int(count) > most:
            yield Problem(
                at,
                f"gpu={value!r}: Modal offers 1 to {most} {name} in a container.",
                f"gpu={f'{name}:{most}'!r}, or a larger card.",
            )


@rule(
    "MK103",
    "any-gpu",
    "warning",
    why="Which card comes decides whether the model fits and what an hour costs.",
)
def any_gpu(file: ModalFile) -> Iterator[Problem]:
    """``gpu="any"`` leaves memory and price to chance."""
    for at, value in gpu_strings(file):
        if isinstance(value, str) and split_count(value)[0].lower() == "any":
            yield Problem(
                at,
                f"gpu={value!r} leaves memory and price to chance.",
                'gpu="T4", or a list in order of preference: gpu=["L4", "T4"].',
            )


@rule(
    "MK104",
    "gpu-not-a-string",
    "error",
    why="Modal takes a string or a list of strings; the file fails when it is imported.",
)
def gpu_not_a_string(file: ModalFile) -> Iterator[Problem]:
    """A number or a truth value where a GPU belongs."""
    for at, value in gpu_strings(file):
        if isinstance(value, bool | int | float):
            yield Problem(at, f"gpu={value!r} names no GPU.", 'gpu="L4", or gpu="L4:2" for two.')
