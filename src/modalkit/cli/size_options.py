"""The options of ``modalkit size``, and what they come to."""

from __future__ import annotations

from typing import NamedTuple

import click

from ..sizing.fit import Wishes
from ..sizing.load import Load
from ..sizing.memory import LORA_RANK, lora_bytes
from ..sizing.model import ModelFacts
from ..sizing.report import default_load
from ..sizing.serving import EngineName, Serving
from ..sizing.splits import Parallelism
from .options import options_as

__all__ = ["SizeOptions", "size_options"]

_CACHE_BYTES = {"auto": 2.0, "bfloat16": 2.0, "float16": 2.0, "16": 2.0}
_CACHE_BYTES |= {"fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0}


class SizeOptions(NamedTuple):
    """What was asked on the command line; ``size_options`` says what each is."""

    context: int | None
    concurrency: int | None
    engine: EngineName
    engine_version: str
    gpu: str | None
    tp: int | None
    pp: int | None
    dp: int | None
    attn_dp: int | None
    ep: int | None
    kv_cache: str
    fraction: float | None
    loras: int
    lora_rank: int
    max_price: float | None
    headers: bool
    as_json: bool

    @property
    def serving(self) -> Serving:
        """The engine, and what it is told."""
        return Serving(self.engine, version=self.engine_version, memory_fraction=self.fraction)

    @property
    def wishes(self) -> Wishes:
        """What the picks must keep to."""
        return Wishes(max_usd_per_hour=self.max_price)

    @property
    def split(self) -> Parallelism | None:
        """What was said of spreading the model; None if nothing was.

        Copies of vLLM's share out the routed experts, those of the others have all of them each.

        Raises:
            UsageError: An option of SGLang's for another engine.
        """
        told = {"tensor": self.tp, "pipeline": self.pp, "data": self.dp}
        told |= {"attention_data": self.attn_dp, "experts": self.ep}
        said = {name: count for name, count in told.items() if count}
        if "attention_data" in said and self.engine != "sglang":
            msg = f"--attn-dp is SGLang's, not {self.engine}'s. Write --engine sglang, or --dp for copies of all layers."
            raise click.UsageError(msg)
        return Parallelism(**said, experts_shared=self.engine == "vllm") if said else None

    def load(self, model: ModelFacts) -> Load:
        """What is asked of a model, its own context and 8 requests where nothing is said."""
        usual = default_load(model)
        return Load(
            context=self.context or usual.context,
            concurrency=self.concurrency or usual.concurrency,
            cache_bytes=_CACHE_BYTES[self.kv_cache],
            lora_bytes=lora_bytes(model, self.loras, self.lora_rank),
        )


_POSITIVE = click.IntRange(min=1)
_OPTIONS = (
    click.option("--context", type=_POSITIVE, metavar="TOKENS", help="Tokens of a request."),
    click.option("--concurrency", type=_POSITIVE, metavar="N", help="Requests at once [8]."),
    click.option(
        "--engine", type=click.Choice(["sglang", "vllm", "transformers"]), default="vllm", show_default=True,
    ),
    click.option("--engine-version", default="", metavar="VERSION", help="Its release."),
    click.option("--gpu", metavar="TYPE[:N]", help="Examine this choice, such as H100:2."),
    click.option(
        "--tp", "--tensor-parallel-size", "--tp-size", type=_POSITIVE, metavar="N",
        help="GPUs that share every layer [the rest].",
    ),
    click.option(
        "--pp", "--pipeline-parallel-size", "--pp-size", type=_POSITIVE, metavar="N",
        help="Groups of consecutive layers [1].",
    ),
    click.option(
        "--dp", "--data-parallel-size", "--dp-size", type=_POSITIVE, metavar="N",
        help="Copies that answer different requests [1].",
    ),
    click.option(
        "--attn-dp", "--attn-dp-size", type=_POSITIVE, metavar="N",
        help="Copies of the attention among the ranks: SGLang's [1].",
    ),
    click.option(
        "--ep", "--expert-parallel-size", "--ep-size", type=_POSITIVE, metavar="N",
        help="Ranks with whole experts of their own.",
    ),
    click.option(
        "--kv-cache-dtype", "--kv-cache", "kv_cache", type=click.Choice(list(_CACHE_BYTES)), default="auto",
        show_default=True, help="Type of the KV cache's numbers.",
    ),
    click.option(
        "--gpu-memory-utilization", "--mem-fraction-static", "fraction",
        type=click.FloatRange(0, 1, min_open=True), metavar="SHARE",
        help="Share of each GPU that the engine may take.",
    ),
    click.option(
        "--loras", type=click.IntRange(min=0), default=0, help="LoRA adapters kept ready [0]."
    ),
    click.option(
        "--lora-rank", type=_POSITIVE, default=LORA_RANK, show_default=True, help="Highest rank among them."
    ),
    click.option(
        "--max-price", type=click.FloatRange(min=0, min_open=True), metavar="USD",
        help="Dearest acceptable price an hour.",
    ),
    click.option("--headers", is_flag=True, help="Read the headers of every weight file of a hub model."),
    click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
)  # fmt: skip

size_options = options_as(SizeOptions, "model", _OPTIONS)
