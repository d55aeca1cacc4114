"""vLLM: an engine process with a paged KV cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..declare.image import ImageSpec
from ..errors import DeclarationError
from .base import Launch
from .client_routes import VLLM_ROUTES
from .flags import EngineName
from .gpu_engine import GPUEngine
from .sets import engine_set
from .speculative import Speculative

__all__ = ["VLLM"]

# Routes that these open ask for no key, not even vLLM's own (vllm/entrypoints/serve).
_OPENS_ADMIN_ROUTES = "VLLM_SERVER_DEV_MODE"
_DRAIN_S = 20  # less than a container has
_OFF = frozenset({"", "0"})
_DOOR = "modalkit.runtime.door.EngineDoor"


class VLLM(GPUEngine):
    """Serve the model with vLLM.

    The image is NVIDIA's CUDA 13 with compilers, Python 3.12 and the release from the package
    index; it was not built here. The flags are checked with the release's real parser, on a CPU.

    Args:
        version: Release; its flags are known for the default.
        expert_parallel: Spread the experts of each layer over all GPUs instead of splitting each.
        lora_folder: Folder in the container that something else fills with LoRA adapters, one a
            subfolder: one is loaded when a client first asks for its name. Its
            ``adapter_config.json`` must name this model. Adapters that are known beforehand are
            declared: ``LoRA(..., on_demand=True)`` is locked, prefetched and verified.

    All other fields are those of `GPUEngine`.

    Raises:
        DeclarationError: Anything this version would refuse, all at once.

    Examples:
        >>> from modalkit.engines import Launch
        >>> launch = Launch(model="Qwen/Qwen3-8B", served_name="qwen", gpu_count=2)
        >>> VLLM(memory_fraction=0.9).argv(launch)[-4:]
        ('--tensor-parallel-size', '2', '--gpu-memory-utilization', '0.9')
        >>> VLLM(extra_args=("--swap-space", "4"))
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: VLLM.extra_args: vLLM 0.33.0 has no flag '--swap-space'. It is gone: a preempted request is computed again. Leave it out.
    """

    title: ClassVar[str] = "vLLM"
    takes_door: ClassVar[bool] = True
    child_key_variable: ClassVar[str | None] = "VLLM_API_KEY"
    client_routes: ClassVar[frozenset[str]] = VLLM_ROUTES
    sleep_path: ClassVar[str | None] = "/sleep?level=1"  # weights to the CPU's memory, cache let go
    wake_path: ClassVar[str | None] = "/wake_up"
    sleep_flags: ClassVar[tuple[str, ...]] = ("--enable-sleep-mode",)
    # Modal's lfm_snapshot_server.py and sglang_snapshot.py samples, 2026: the routes, no spawned
    # compile workers in the snapshot, no warnings of torch about the sockets that a restore cut.
    sleep_environment: ClassVar[Mapping[str, str]] = {
        _OPENS_ADMIN_ROUTES: "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "FATAL",
    }
    # vllm/model_executor/model_loader, vllm/compilation/monitor.py, vllm/v1/worker: what they log.
    start_marks: ClassVar[Mapping[str, str]] = {
        "weights": r"Loading weights took ([\d.]+) sec",
        "compile": r"(?:torch\.compile took|Graph capturing finished in) ([\d.]+) s",
    }
    opening_variables: ClassVar[frozenset[str]] = frozenset({_OPENS_ADMIN_ROUTES})
    table_name: ClassVar[EngineName] = "vllm"
    value_flags: ClassVar[Mapping[str, str]] = {
        "pipeline_parallel": "--pipeline-parallel-size",
        "data_parallel": "--data-parallel-size",
        "context_length": "--max-model-len",
        "dtype": "--dtype",
        "quantization": "--quantization",
        "kv_cache_dtype": "--kv-cache-dtype",
        "memory_fraction": "--gpu-memory-utilization",
        "max_running_requests": "--max-num-seqs",
        "prefill_chunk_tokens": "--max-num-batched-tokens",
        "attention_backend": "--attention-backend",
        "load_format": "--load-format",
        "tool_parser": "--tool-call-parser",
        "reasoning_parser": "--reasoning-parser",
        "chat_template": "--chat-template",
        "lora_slots": "--max-loras",
        "max_lora_rank": "--max-lora-rank",
        "seed": "--seed",
    }
    set_flags: ClassVar[Mapping[str, str]] = {
        "--tensor-parallel-size": "tensor_parallel",
        "--served-model-name": "served_name",
        "--enable-expert-parallel": "expert_parallel",
        "--runner": "task",
        "--convert": "task",
        "--enable-chunked-prefill": "chunked_prefill",
        "--enable-prefix-caching": "prefix_caching",
        "--enforce-eager": "cuda_graphs",
        "--enable-auto-tool-choice": "tool_parser",
        "--enable-lora": "lora",
        "--lora-modules": "lora",
        "--limit-mm-per-prompt": "multimodal_limits",
        "--language-model-only": "text_only",
        "--trust-remote-code": "trust_remote_code",
        "--log-level": "log_level",
    }

    # A Modal Volume is FUSE, which its own detection does not take for a network.
    volume_flags: ClassVar[tuple[str, ...]] = ("--safetensors-load-strategy", "prefetch")
    lora_flag: ClassVar[str] = "--lora-modules"
    limits_flag: ClassVar[str] = "--limit-mm-per-prompt"

    version: str = engine_set("vllm").version
    expert_parallel: bool = False
    lora_folder: str | None = None

    def image(self) -> ImageSpec:
        """Return CUDA 13 with Python and vLLM, or vLLM upon ``base_image``."""
        tested = engine_set("vllm")
        base = ImageSpec.registry(self.base_image or tested.image, add_python=tested.python)
        return self._held(base).uv(f"vllm=={self.version}")

    def _program(self, launch: Launch) -> tuple[str, ...]:
        revision = ("--revision", launch.revision) if launch.revision else ()
        return (
            *("python", "-m", "vllm.entrypoints.cli.main", "serve", launch.model, *revision),
            *("--served-model-name", self.served_name or launch.served_name, *self.aliases),
            *("--host", launch.host, "--port", str(launch.port)),
            # Its default aborts what is under way at SIGTERM.
            *("--shutdown-timeout", str(_DRAIN_S)),
        )

    def _switches(self) -> tuple[str, ...]:
        chunked = {
            None: (),
            True: ("--enable-chunked-prefill",),
            False: ("--disable-chunked-prefill",),
        }
        tasks = {
            "generate": (),
            "embed": ("--runner", "pooling", "--convert", "embed"),
            "rerank": ("--runner", "pooling"),
        }
        return (
            *tasks[self.task],
            *(("--enable-expert-parallel",) if self.expert_parallel else ()),
            *chunked[self.chunked_prefill],
            *(() if self.prefix_caching else ("--disable-prefix-caching",)),
            *(() if self.cuda_graphs else ("--enforce-eager",)),
            *(("--enable-auto-tool-choice",) if self.tool_parser else ()),
            *(_speculative(self.speculative) if self.speculative else ()),
            *(_GRAMMAR[self.structured_output] if self.structured_output else ()),
            *self._inputs(),
            *(("--trust-remote-code",) if self.trust_remote_code else ()),
            *(("--log-level", self.log_level.upper()) if self.log_level else ()),
        )

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; ``python`` in it is the container's interpreter.

        Raises:
            DeclarationError: Parallelism the container's GPUs do not allow, or routes without a
                key on an address that others reach.
        """
        if launch.door and self.env.get(_OPENS_ADMIN_ROUTES, "0") not in _OFF:
            msg = (
                f"VLLM.env {_OPENS_ADMIN_ROUTES}={self.env[_OPENS_ADMIN_ROUTES]!r} serves /sleep, "
                "/collective_rpc and /update_weights without a key on the port that "
                "Endpoint(kind='server') opens to the outside. Write Endpoint(kind='web'), whose "
                "engine listens on loopback only, or leave the variable out."
            )
            raise DeclarationError(msg)
        # The last middleware is the outermost; what a user adds in extra_args stays behind it.
        return (*super().argv(launch), *(("--middleware", _DOOR) if launch.door else ()))

    def environment(self, launch: Launch) -> dict[str, str]:
        """Return the variables; with a folder of adapters those that let it look there."""
        folder = launch.adapter_folder or self.lora_folder
        found = {} if folder is None else _finds_adapters(folder)
        return {**found, **super().environment(launch)}

    def serves_adapters(self) -> bool:
        """Return whether it has room for LoRA adapters."""
        return super().serves_adapters() or self.lora_folder is not None

    def _field_problems(self) -> Iterator[str]:
        yield from super()._field_problems()
        if self.structured_output == "none":
            yield "VLLM.structured_output 'none' is SGLang's. Leave it out: no request is held to a schema unless it asks."
        if self.lora_folder is not None and not self.lora_folder.startswith("/"):
            yield f"VLLM.lora_folder {self.lora_folder!r} is not an absolute path. Write WeightCache('name').path('adapters')."
        if self.lora_folder is not None and (asked := [one for one in self.lora if one.on_demand]):
            yield (
                f"VLLM.lora_folder is a second folder beside that of LoRA({asked[0].name!r}, on_demand=True), and "
                "vLLM looks into one. Declare each adapter on_demand, or leave on_demand out."
            )


def _finds_adapters(folder: str) -> dict[str, str]:
    # vllm/plugins/lora_resolvers/filesystem_resolver.py
    return {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_LORA_RESOLVER_CACHE_DIR": folder}


# vllm/config/structured_outputs.py calls llguidance by the name of its Python package's project.
_GRAMMAR: Mapping[str, tuple[str, ...]] = {
    name: ("--structured-outputs-config.backend", backend)
    for name, backend in {
        "xgrammar": "xgrammar",
        "llguidance": "guidance",
        "outlines": "outlines",
        "lm-format-enforcer": "lm-format-enforcer",
        "none": "auto",
    }.items()
}


def _speculative(guess: Speculative) -> Iterator[str]:
    yield from ("--spec-method", guess.method)
    if guess.draft_model:
        yield from ("--spec-model", guess.draft_model)
    yield from ("--spec-tokens", str(guess.draft_tokens))
