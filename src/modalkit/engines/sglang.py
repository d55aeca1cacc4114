"""SGLang: an engine process with a cache of shared prefixes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import PositiveInt

from ..declare.image import ImageSpec
from ..errors import DeclarationError
from .base import Launch
from .client_routes import SGLANG_ROUTES
from .flags import EngineName, Given, split_flags
from .gpu_engine import GPUEngine
from .sets import engine_set
from .speculative import Speculative

__all__ = ["SGLang"]


# Several tokenizer processes import the app anew, without the door, and know no key at all
# (http_server.py: init_multi_tokenizer); the others serve another app.
_OTHER_SERVERS = frozenset(
    {"--tokenizer-worker-num", "--enable-http2", "--encoder-only", "--use-ray"}
)

_ADMIN_KEY = "MODALKIT_ADMIN_KEY"
_OVERLAP = "--startup-weight-load-mode"
_GRAPHS_OFF = (
    *("--cuda-graph-backend-decode", "disabled"),
    *("--cuda-graph-backend-prefill", "disabled"),
)
# What SGLang 0.5.23 ends its start with where it stands beside the overlap, which it tells only after the
# container has come up: _get_unsupported_reason in
# srt/model_executor/model_runner_components/startup_weight_load.py. By flag, the values that it takes all the same.
_BESIDE_OVERLAP: Mapping[str, frozenset[str]] = {
    "--load-format": frozenset({"auto", "safetensors"}),
    "--dtype": frozenset({"auto", "half", "float16", "bfloat16"}),
    "--tp-size": frozenset({"1", "2"}),
    "--quantization": frozenset({"unquant"}),
    "--cpu-offload-gb": frozenset({"0"}),
    **dict.fromkeys(("--pp-size", "--dp-size", "--ep-size", "--attn-dp-size"), frozenset({"1"})),
    **dict.fromkeys(
        (
            *("--speculative-algorithm", "--enable-lora", "--is-embedding"),
            *("--enable-memory-saver", "--enable-weights-cpu-backup"),
            *("--weight-loader-disable-mmap", "--weight-loader-drop-cache-after-load"),
            *("--custom-weight-loader", "--enable-torch-compile"),
        ),
        frozenset[str](),
    ),
}


class SGLang(GPUEngine):
    """Serve the model with SGLang.

    The image is SGLang's own of this version. It was not run here: modalkit checks the flags
    with the version's real parser, on a CPU.

    Its administration always asks for a key that is made anew at each start and known to nobody
    outside the container. Behind modalkit's gateway the process listens on the loopback address, and
    its other routes ask for none. Reached directly (``Endpoint(kind="server")``) it has modalkit's door
    in its own process: only client routes are let in, and those ask for a second key of that kind.

    Args:
        version: Release; its flags are known for the default.
        expert_parallel: GPUs that share the experts of a layer. Default: all see all of them.
        attention_data_parallel: GPUs that hold a copy of the attention layers each, within
            ``tensor_parallel``; for models with latent attention, such as DeepSeek's.
        metrics: Serve ``/metrics``. Default true.

    All other fields are those of `GPUEngine`. ``aliases`` need nothing here: every route but
    ``/v1/responses`` answers to any name.

    Raises:
        DeclarationError: Anything this version would refuse, all at once.

    Examples:
        >>> from modalkit.engines import Launch
        >>> launch = Launch(model="Qwen/Qwen3-8B", served_name="qwen", gpu_count=2)
        >>> engine = SGLang(context_length=32_768, tool_parser="qwen")
        >>> engine.argv(launch)[-5:]
        ('--context-length', '32768', '--tool-call-parser', 'qwen', '--enable-metrics')
        >>> SGLang(tool_parser="llama4")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: SGLang.tool_parser: SGLang 0.5.23 does not know 'llama4' for '--tool-call-parser'. Write 'pythonic' for Llama 4.
    """

    title: ClassVar[str] = "SGLang"
    takes_door: ClassVar[bool] = True
    admin_key_variable: ClassVar[str | None] = _ADMIN_KEY
    client_routes: ClassVar[frozenset[str]] = SGLANG_ROUTES
    # /health runs a token through the model; /ready only says whether it may.
    ready_path: ClassVar[str] = "/ready"
    sleep_path: ClassVar[str | None] = "/release_memory_occupation"
    wake_path: ClassVar[str | None] = "/resume_memory_occupation"
    sleep_flags: ClassVar[tuple[str, ...]] = (
        "--enable-memory-saver",
        "--enable-weights-cpu-backup",
    )
    # Modal's sglang_snapshot.py sample, 2026: no spawned compile workers in the snapshot.
    sleep_environment: ClassVar[Mapping[str, str]] = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    # sglang/srt/model_executor, before and after the words of its graph capture changed in 2026; an
    # overlapped load tells what was left of it then.
    start_marks: ClassVar[Mapping[str, str]] = {
        "weights": r"Load weight end\. (?:elapsed=|Committed [\w ]+ in )([\d.]+) s",
        "compile": r"(?i:Capture [\w ]*cuda graph end\.) (?:step=\d+, )?(?:Time elapsed: |elapsed=)([\d.]+) s",
    }
    table_name: ClassVar[EngineName] = "sglang"
    value_flags: ClassVar[Mapping[str, str]] = {
        "pipeline_parallel": "--pp-size",
        "data_parallel": "--dp-size",
        "expert_parallel": "--ep-size",
        "attention_data_parallel": "--attn-dp-size",
        "context_length": "--context-length",
        "dtype": "--dtype",
        "quantization": "--quantization",
        "kv_cache_dtype": "--kv-cache-dtype",
        "memory_fraction": "--mem-fraction-static",
        "max_running_requests": "--max-running-requests",
        "prefill_chunk_tokens": "--chunked-prefill-size",
        "attention_backend": "--attention-backend",
        "load_format": "--load-format",
        "tool_parser": "--tool-call-parser",
        "reasoning_parser": "--reasoning-parser",
        "chat_template": "--chat-template",
        "structured_output": "--grammar-backend",
        "lora_slots": "--max-loras-per-batch",
        "max_lora_rank": "--max-lora-rank",
        "seed": "--random-seed",
        "log_level": "--log-level",
    }
    set_flags: ClassVar[Mapping[str, str]] = {
        "--tp-size": "tensor_parallel",
        "--served-model-name": "served_name",
        "--is-embedding": "task",
        "--disable-radix-cache": "prefix_caching",
        "--enable-lora": "lora",
        "--lora-paths": "lora",
        "--limit-mm-data-per-request": "multimodal_limits",
        "--language-model-only": "text_only",
        "--trust-remote-code": "trust_remote_code",
        "--enable-metrics": "metrics",
    }

    volume_flags: ClassVar[tuple[str, ...]] = ("--weight-loader-prefetch-checkpoints",)
    lora_flag: ClassVar[str] = "--lora-paths"
    limits_flag: ClassVar[str] = "--limit-mm-data-per-request"

    version: str = engine_set("sglang").version
    expert_parallel: PositiveInt | None = None
    attention_data_parallel: PositiveInt | None = None
    metrics: bool = True

    def image(self) -> ImageSpec:
        """Return SGLang's own image of this version, or ``base_image``."""
        image = ImageSpec.registry(self.base_image or f"lmsysorg/sglang:v{self.version}")
        return self._held(image)

    def _program(self, launch: Launch) -> tuple[str, ...]:
        revision = ("--revision", launch.revision) if launch.revision else ()
        return (
            *("python", "-m", *_keyed(launch), "sglang.launch_server"),
            *("--model-path", launch.model, *revision),
            *("--served-model-name", self.served_name or launch.served_name),
            *("--host", launch.host, "--port", str(launch.port)),
        )

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; ``python`` in it is the container's interpreter.

        Raises:
            DeclarationError: Parallelism the container's GPUs do not allow, a server that is not
                the one the door stands in front of, or an overlapped start that SGLang refuses.
        """
        given = {flag.name for flag in split_flags(self.extra_args)}
        if launch.door and (others := sorted(given & _OTHER_SERVERS)):
            msg = (
                f"SGLang.extra_args {others[0]!r} starts another server than the one that modalkit's "
                "door stands in, which Endpoint(kind='server') would open to the outside. Write "
                "Endpoint(kind='web'), or leave the flag out."
            )
            raise DeclarationError(msg)
        argv = super().argv(launch)
        _check_overlap(argv)
        return argv

    def _field_problems(self) -> Iterator[str]:
        yield from super()._field_problems()
        if asked := [one for one in self.lora if one.on_demand]:
            yield (
                f"SGLang.lora has LoRA({asked[0].name!r}, on_demand=True), but SGLang reads adapters at its start and "
                "would load more into one container of several. Leave on_demand out: all of them lie in the host's "
                "memory, and lora_slots of them on the GPU, as they are asked for."
            )

    def _switches(self) -> tuple[str, ...]:
        return (
            *(() if self.task == "generate" else ("--is-embedding",)),
            *(("--chunked-prefill-size", "-1") if self.chunked_prefill is False else ()),
            *(() if self.prefix_caching else ("--disable-radix-cache",)),
            *(() if self.cuda_graphs else _GRAPHS_OFF),
            *(_speculative(self.speculative) if self.speculative else ()),
            *self._inputs(),
            *(("--trust-remote-code",) if self.trust_remote_code else ()),
            *(("--enable-metrics",) if self.metrics else ()),
        )


def _keyed(launch: Launch) -> tuple[str, ...]:
    """SGLang takes its keys from argv only, and no middleware: this adds them inside the process."""
    admin = "--admin-key-flag=--admin-api-key"
    if launch.door:
        door = "--door=sglang.srt.entrypoints.http_server:app"
        return ("modalkit.runtime.keyed", door, "--key-flag=--api-key", admin)
    if launch.admin_key:
        return ("modalkit.runtime.keyed", f"--admin-key-variable={_ADMIN_KEY}", admin)
    return ()


def _check_overlap(argv: tuple[str, ...]) -> None:
    given = split_flags(argv)
    if not any(one.name == _OVERLAP and "overlap" in one.values for one in given):
        return
    refused = [one for one in given if one.name in _BESIDE_OVERLAP and not _is_taken(one)]
    off = [one for one in split_flags(_GRAPHS_OFF) if one in given]
    if len(off) == len(split_flags(_GRAPHS_OFF)):  # one of the two phases is enough to overlap with
        refused += off
    if refused:
        told = " ".join((refused[0].name, *refused[0].values))
        msg = (
            f"SGLang.extra_args '{_OVERLAP} overlap' does not go with {told!r}: SGLang would refuse to "
            "start. Leave one of the two out."
        )
        raise DeclarationError(msg)


def _is_taken(one: Given) -> bool:
    """Whether SGLang takes a flag with these values beside the overlap."""
    return bool(one.values) and _BESIDE_OVERLAP[one.name].issuperset(one.values)


_ALGORITHMS = {
    "draft_model": "STANDALONE",
    "eagle": "EAGLE",
    "eagle3": "EAGLE3",
    "mtp": "NEXTN",
    "ngram": "NGRAM",
}


def _speculative(guess: Speculative) -> tuple[str, ...]:
    algorithm = ("--speculative-algorithm", _ALGORITHMS[guess.method])
    if guess.method == "ngram":
        return (*algorithm, "--speculative-num-draft-tokens", str(guess.draft_tokens))
    model = ("--speculative-draft-model-path", guess.draft_model) if guess.draft_model else ()
    # One chain of guesses; the engine counts the token that it is sure of as a draft token too.
    return (
        *algorithm,
        *model,
        *("--speculative-num-steps", str(guess.draft_tokens)),
        *("--speculative-eagle-topk", "1"),
        *("--speculative-num-draft-tokens", str(guess.draft_tokens + 1)),
    )
