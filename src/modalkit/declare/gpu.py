"""Which GPU to run on: the declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from .._values import Value, between, did_you_mean, one_of
from ..errors import DeclarationError
from .catalogue import GPU, catalogue_date, gpu_catalogue, gpu_spelling

__all__ = ["GPU", "GPUFit", "GPUProfile", "catalogue_date", "gpu_catalogue", "gpu_spelling"]


class GPUFit(Value):
    """A wish for the cheapest GPU that holds the model; made by `GPUProfile.fit`, which says more.

    Examples:
        >>> str(GPUProfile.fit(context=32_768, concurrency=16, allowed=["L40S", "H100"]))
        "fit(context=32768, concurrency=16, allowed=('L40S', 'H100'))"
    """

    place: ClassVar[str] = "GPUProfile.fit"

    context: Annotated[int, between(1, unit="tokens")] | None = None
    concurrency: Annotated[int, between(1, unit="requests")] | None = None
    allowed: tuple[str, ...] = ()
    max_usd_per_hour: Annotated[float, between(0, unit="USD")] | None = None
    max_count: Annotated[int, between(1, 8, "GPUs")] = 8
    prefer_fewer: bool = False
    min_tokens_per_s: Annotated[float, between(0, unit="tokens/s")] | None = None
    fallbacks: Annotated[int, between(0, 8)] = 2

    @field_validator("allowed")
    @classmethod
    def _as_spelled(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(gpu_spelling, allowed))

    @model_validator(mode="after")
    def _types_exist(self) -> Self:
        known = gpu_catalogue()
        for name in self.allowed:
            if name not in known:
                counted = " A count is what it finds out; leave it out." if ":" in name else ""
                msg = (
                    f"GPUProfile.fit.allowed {name!r} is not a GPU type of Modal's.{counted}"
                    f"{did_you_mean(name, known)} Write some of {one_of(_names())}."
                )
                raise DeclarationError(msg)
        return self

    def __str__(self) -> str:
        said = self.model_dump(exclude_defaults=True)
        return f"fit({', '.join(f'{name}={value!r}' for name, value in said.items())})"

    def spelling(self, gpu: GPU) -> str:
        """Return a type as ``allowed`` writes it: ``"H100!"`` stays pinned."""
        return next((name for name in self.allowed if name in gpu.spellings), gpu.name)


class GPUProfile(Value):
    """Which GPU a container gets, how many, and what to take when there is none.

    Args:
        gpu: A type from Modal's catalogue (``"H100"``, ``"H100!"``, ``"B200+"``), with an optional
            count: ``"H100:2"``.
        count: GPUs per container; not together with a count in ``gpu``. Default 1.
        fallbacks: Other choices in order of preference, each with its own count
            (``["A100-80GB:2", "H200"]``); an entry that names no count takes the profile's.
        unlisted: Accept a type that the catalogue does not know yet. modalkit then knows neither
            its memory nor its price. Default false.

    Raises:
        DeclarationError: An unknown type, or a count that Modal does not offer for it.

    Examples:
        >>> GPUProfile("H100:2", fallbacks=["H200"]).to_modal()
        ['H100:2', 'H200:2']
        >>> GPUProfile("L4").total_gib
        22.03
        >>> GPUProfile("A10:8")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: GPUProfile('A10').count must be 1 to 4, got 8.
    """

    gpu: str
    count: int = 1
    fallbacks: tuple[Self, ...] = Field(default=())
    unlisted: bool = False

    def __init__(
        self,
        gpu: str,
        *,
        count: int | None = None,
        fallbacks: Sequence[str | GPUProfile] = (),
        unlisted: bool = False,
    ) -> None:
        _check_kinds(gpu, fallbacks)
        name, written = _split_count(gpu)
        if count is not None and written is not None and count != written:
            msg = f"GPUProfile({gpu!r}, count={count}) says two counts. Write GPUProfile({name!r}, count={count})."
            raise DeclarationError(msg)
        own_count = written if written is not None else count if count is not None else 1
        others = tuple(_as_profile(entry, own_count, unlisted) for entry in fallbacks)
        super().__init__(gpu=name, count=own_count, fallbacks=others, unlisted=unlisted)

    @model_validator(mode="after")
    def _exists(self) -> Self:
        known = gpu_catalogue()
        if self.gpu not in known:
            if not self.unlisted:
                raise DeclarationError(_unknown(self.gpu, known))
            most: int | None = None
        else:
            most = known[self.gpu].max_count
        _check_count(self.gpu, self.count, most)
        if any(entry.fallbacks for entry in self.fallbacks):
            msg = f"GPUProfile({self.gpu!r}).fallbacks holds a profile with fallbacks of its own. Write one flat list."
            raise DeclarationError(msg)
        return self

    @classmethod
    def fit(
        cls,
        *,
        context: int | None = None,
        concurrency: int | None = None,
        allowed: Sequence[str] = (),
        max_usd_per_hour: float | None = None,
        max_count: int = 8,
        prefer_fewer: bool = False,
        min_tokens_per_s: float | None = None,
        fallbacks: int = 2,
    ) -> GPUFit:
        """Ask for the cheapest type and count that hold the model, its KV cache and the engine.

        Nothing is looked up here: ``modalkit lock`` does, or, for a folder beside the file, `serve`.

        Args:
            context: Tokens of a request. Default: the engine's ``context_length``, or the model's own.
            concurrency: Requests at once. Default: the service's ``Scaling(concurrency=...)``, or 8.
            allowed: Types to choose from, as Modal writes them; one that Modal may upgrade
                (``"H100"``, ``"A100"``, ``"B200+"``) is sized on the smaller card. Default: all.
            max_usd_per_hour: Dearest list price of a choice, fallbacks too. Default: none.
            max_count: GPUs at most. Default 8.
            prefer_fewer: Rather fewer GPUs than a lower price. Default false.
            min_tokens_per_s: Answer tokens over all requests, by the estimate's low end. Default: none.
            fallbacks: Next-cheapest types to fall back on, each of which fits too. Default 2.

        Raises:
            DeclarationError: An unknown type, or a number out of its range.
        """
        return GPUFit(
            context=context,
            concurrency=concurrency,
            allowed=_as_listed(allowed),
            max_usd_per_hour=max_usd_per_hour,
            max_count=max_count,
            prefer_fewer=prefer_fewer,
            min_tokens_per_s=min_tokens_per_s,
            fallbacks=fallbacks,
        )

    @property
    def facts(self) -> GPU | None:
        """The catalogue's entry for the first choice; ``None`` for an unlisted type."""
        return gpu_catalogue().get(self.gpu)

    @property
    def choices(self) -> tuple[GPUProfile, ...]:
        """Every choice in order of preference, this one first."""
        return (self, *self.fallbacks)

    @property
    def total_gib(self) -> float | None:
        """Memory of all GPUs of the first choice in GiB, as CUDA reports it."""
        return self.facts.total_gib * self.count if self.facts else None

    @property
    def bandwidth_gb_per_s(self) -> float | None:
        """Memory bandwidth of all GPUs of the first choice in GB/s."""
        return self.facts.bandwidth_gb_per_s * self.count if self.facts else None

    @property
    def usd_per_hour(self) -> float | None:
        """List price of all GPUs of the first choice, without CPU and memory."""
        return self.facts.usd_per_hour * self.count if self.facts else None

    @property
    def compute_capability(self) -> str | None:
        """CUDA compute capability of the first choice."""
        return self.facts.compute_capability if self.facts else None

    def __str__(self) -> str:
        return f"{self.gpu}:{self.count}" if self.count > 1 else self.gpu

    def to_modal(self) -> str | list[str]:
        """Compile to Modal's ``gpu=`` argument: a string, or a list when there are fallbacks."""
        strings = [str(choice) for choice in self.choices]
        return strings if len(strings) > 1 else strings[0]


def _as_listed(allowed: Sequence[str]) -> tuple[str, ...]:
    if isinstance(allowed, str):  # a string is a sequence too, of letters
        msg = f"GPUProfile.fit.allowed must be a list, got {allowed!r}. Write [{allowed!r}]."
        raise DeclarationError(msg)
    return tuple(allowed)


def _check_kinds(gpu: object, fallbacks: object) -> None:
    if isinstance(fallbacks, str):  # a string is a sequence too, of letters
        msg = f"GPUProfile.fallbacks must be a list, got {fallbacks!r}. Write [{fallbacks!r}]."
        raise DeclarationError(msg)
    if not isinstance(gpu, str):
        msg = f"GPUProfile.gpu must be a string such as 'H100', got {type(gpu).__name__}."
        raise DeclarationError(msg)


def _split_count(gpu: str) -> tuple[str, int | None]:
    name, colon, count = gpu.partition(":")
    name = gpu_spelling(name)
    if not colon:
        return name, None
    if not count.strip().isdecimal():
        msg = f"GPUProfile({gpu!r}): the count after ':' must be a whole number. Write {name + ':2'!r}."
        raise DeclarationError(msg)
    return name, int(count)


def _as_profile(
    entry: str | GPUProfile | Mapping[str, Any], count: int, unlisted: bool
) -> GPUProfile:
    if isinstance(entry, GPUProfile):
        return entry
    if isinstance(entry, Mapping):  # a profile read back from JSON
        return GPUProfile(**entry)
    _, written = _split_count(entry)
    return GPUProfile(entry, count=count if written is None else None, unlisted=unlisted)


def _names() -> list[str]:
    return list(dict.fromkeys(entry.name for entry in gpu_catalogue().values()))


def _unknown(gpu: str, known: Iterable[str]) -> str:
    if gpu.lower() == "any":
        return f"GPUProfile.gpu {gpu!r} leaves memory and price to chance. Write one of {one_of(_names())}."
    return (
        f"GPUProfile.gpu {gpu!r} is not a GPU type of Modal's.{did_you_mean(gpu, known)} "
        f"Write one of {one_of(_names())}; for a type newer than this catalogue "
        f"({catalogue_date()}) add unlisted=True."
    )


def _check_count(gpu: str, count: int, most: int | None) -> None:
    if count >= 1 and (most is None or count <= most):
        return
    limit = f"1 to {most}" if most else "at least 1"
    msg = f"GPUProfile({gpu!r}).count must be {limit}, got {count}."
    raise DeclarationError(msg)
