"""Everything sizing says of one model, as plain data for a table, JSON or a program."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from ..declare.gpu import GPU, catalogue_date, gpu_catalogue, gpu_spelling
from ..errors import SizingError
from .facts import ModelFacts
from .fit import Pick, Wishes, examine, largest_concurrency, largest_context, picks
from .lines import Line
from .load import Load, Split
from .loading import held_by
from .memory import itemised, left_out
from .serving import EngineName, Serving, serving
from .splits import Parallelism

__all__ = ["SizeReport", "default_load", "size"]


@dataclass(frozen=True, slots=True)
class SizeReport:
    """A model on the GPUs of the catalogue.

    Attributes:
        model: The model's facts.
        load: What it was sized for.
        served: The engine whose memory reserve was counted, and what it was told.
        picks: Every type and count that fits, cheapest first.
        rejected: Those that do not, cheapest first, each with its problem.
        asked: The GPU that was asked about, if one was.
        best: The one asked about, else the cheapest that fits; None if nothing does.
        largest_context: Tokens of a request that ``best`` holds at the load's concurrency.
        largest_concurrency: Requests of the load's context that ``best`` holds.
    """

    model: ModelFacts
    load: Load
    served: Serving
    picks: tuple[Pick, ...]
    rejected: tuple[Pick, ...]
    asked: Pick | None
    best: Pick | None
    largest_context: int
    largest_concurrency: int

    @property
    def engine(self) -> EngineName:
        """The engine's name."""
        return self.served.engine

    def to_json(self) -> dict[str, object]:
        """Return it as plain data; bytes and tokens as integers, prices in USD."""
        model = self.model
        return {
            "model": model.name,
            "model_type": model.model_type,
            "quantization": model.quantization,
            "total_parameters": model.total_parameters,
            "active_parameters": model.active_parameters,
            "weight_bytes": model.weight_bytes,
            "loaded_bytes": held_by(model, self.engine).loaded_bytes,
            "extra_stored_bytes": model.extra_stored_bytes,
            "stored_bytes": model.stored_bytes,
            "stored_parameters": model.stored_parameters,
            "kv_bytes_per_token": model.kv_bytes_per_token(self.load.cache_bytes),
            "cross_bytes_per_encoder_token": model.cross_bytes_per_token(self.load.cache_bytes),
            "state_bytes_per_sequence": model.state_bytes_per_sequence,
            "valid_tensor_parallel": model.valid_tensor_parallel(),
            "max_context": model.max_context,
            "engine": self.engine,
            "reserve_note": self.served.note,
            "weights_note": left_out(model),
            "split": asdict(self.best.split) if self.best else None,
            "load": asdict(self.load),
            "gpu": self.best.selection if self.best else None,
            "fits": not self.asked.problem if self.asked else None,
            "problem": self.asked.problem if self.asked else None,
            "memory_fraction": self.asked.memory_fraction if self.asked else None,
            "largest_context": self.largest_context,
            "largest_concurrency": self.largest_concurrency,
            "total_bytes_per_gpu": self.best.breakdown.total_bytes if self.best else None,
            "breakdown": _lines(self.best),
            "speed": _speed(self.best),
            "picks": [_row(one) for one in self.picks],
            "rejected": [_rejected(one) for one in self.rejected],
            "prices_read_on": catalogue_date(),
        }


def size(
    model: ModelFacts,
    load: Load | None = None,
    *,
    engine: EngineName | Serving = "vllm",
    gpu: str | None = None,
    wishes: Wishes | None = None,
    split: Split | Parallelism | None = None,
) -> SizeReport:
    """Size a model.

    Args:
        model: From `read_model`, `model_facts`, or stated by hand.
        load: Context and concurrency to bear; those of `default_load` by default.
        engine: Whose memory reserve counts; a `Serving` also says its release and what it was told.
        gpu: One choice to examine, such as ``"H100:2"``; without a count, as many as ``split`` takes.
        wishes: What the picks must keep to.
        split: How the model is spread, or what is said of it. Default: tensor parallelism over all GPUs
            of a choice.

    Raises:
        SizingError: An unknown GPU, or a count that the split does not take.
    """
    load = load or default_load(model)
    found = picks(model, load, engine, wishes, split=split)
    fitting = tuple(one for one in found if not one.problem)
    asked = examine(model, load, engine, _counted(gpu, split), split=split) if gpu else None
    best = asked or (fitting[0] if fitting else None)
    context, concurrency = _largest(best, model, load, engine) if best else (0, 0)
    return SizeReport(
        model=model,
        load=load,
        served=serving(engine),
        picks=fitting,
        rejected=tuple(one for one in found if one.problem),
        asked=asked,
        best=_itemised(best, model, load, engine) if best else None,
        largest_context=context,
        largest_concurrency=concurrency,
    )


def _largest(
    one: Pick, model: ModelFacts, load: Load, engine: EngineName | Serving
) -> tuple[int, int]:
    """The longest context, and the most requests, that a choice holds."""
    room = (one.split, one.gpu.total_gib, engine)
    return largest_context(model, load, *room), largest_concurrency(model, load, *room)


def _itemised(one: Pick, model: ModelFacts, load: Load, engine: EngineName | Serving) -> Pick:
    """A choice with the parts of each line of its breakdown."""
    return replace(one, breakdown=itemised(one.breakdown, model, load, one.split, engine))


def default_load(model: ModelFacts) -> Load:
    """Return 8 requests of 8192 tokens, or of the model's context where that is shorter."""
    return Load(context=min(8192, model.max_context or 8192), concurrency=8)


def parse_choice(text: str) -> tuple[GPU, int]:
    """Read ``"H100:2"``, or ``"h100:2"``, as Modal does.

    Raises:
        SizingError: A type that is not in the catalogue, or a count that is not a number above 0.
    """
    name, colon, count = text.partition(":")
    gpu = gpu_catalogue().get(gpu_spelling(name))
    number = count.strip()
    if gpu is None or (colon and not number.isdecimal()) or (colon and int(number) < 1):
        known = ", ".join(dict.fromkeys(one.name for one in gpu_catalogue().values()))
        msg = f"The GPU {text!r} must be a type of the catalogue with an optional count ({known})."
        raise SizingError(msg)
    return gpu, int(number or 1)


def _counted(text: str, split: Split | Parallelism | None) -> tuple[GPU, int]:
    """Read a choice whose count may be left to a split.

    Raises:
        SizingError: As `parse_choice`, or the count is not what the split takes.
    """
    gpu, count = parse_choice(text)
    if split is None or (":" in text and isinstance(split, Parallelism) and split.tensor is None):
        return gpu, count
    tensor = split.tensor or 1
    needed = tensor * split.pipeline * split.data
    if ":" in text and count != needed:
        msg = (
            f"{text!r} has {count} GPUs, but {tensor} tensor x {split.pipeline} pipeline x {split.data} data ranks "
            f"take {needed}. Write '{gpu.name}:{needed}', or leave the count out."
        )
        raise SizingError(msg)
    return gpu, needed


def _row(one: Pick) -> dict[str, object]:
    return {
        "gpu": one.gpu.name,
        "count": one.count,
        "usd_per_hour": round(one.usd_per_hour, 4),
        "free_bytes_per_gpu": one.breakdown.free_bytes,
    }


def _rejected(one: Pick) -> dict[str, object]:
    return {**_row(one), "problem": one.problem, "memory_fraction": one.memory_fraction}


def _lines(one: Pick | None) -> list[dict[str, object]]:
    if one is None:
        return []
    free = Line(
        "free", one.breakdown.free_bytes, "what is left", "the card's total less the lines above"
    )
    return [_line(line) for line in (*one.breakdown.lines, free)]


def _line(line: Line) -> dict[str, object]:
    plain: dict[str, object] = {
        "what": line.what,
        "bytes": line.bytes,
        "formula": line.formula,
        "source": line.source,
    }
    return plain | ({"parts": [_line(part) for part in line.parts]} if line.parts else {})


def _speed(one: Pick | None) -> dict[str, object] | None:
    return asdict(one.speed) if one else None
