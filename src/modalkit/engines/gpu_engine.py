"""What SGLang and vLLM have in common: typed fields, parallelism, and flags checked before use."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from .._values import did_you_mean
from ..declare.image import ImageSpec
from ..errors import DeclarationError
from .base import Engine, Launch
from .flags import EngineName, FlagTable, flag_problems, flag_table, split_flags
from .lora import Adapters
from .recipes import Recipe, RecipeUse, recipe_for, recipe_named, recipes
from .reserved import OWNED_FLAGS, reserved_flags, reserved_problems
from .sets import engine_set
from .speculative import Speculative
from .variables import without_secrets

__all__ = ["GPUEngine"]

_TEMPLATE_FILES = (".jinja", ".jinja2", ".j2")

# GPUDirect Storage, which this loader would use, does not reach a file system under FUSE.
_FROM_FUSE = ("--model-loader-extra-config", '{"enable_gds": false}')


class GPUEngine(Engine):
    """Base of the engines whose flags modalkit knows by heart.

    Args:
        version: The engine's release. Flags can be checked for the pinned default only.
        unchecked_flags: Let flags and values pass that modalkit's table does not know; needed
            for another ``version``. Default false.
        base_image: Another image than the default, with its tag or digest.
        interpreter: Path of the Python that has the engine, where it has an environment of its
            own. Default: the container's.
        recipe: Name of the recipe that fills the fields left out; ``"auto"`` goes by the model's
            hub id, ``None`` takes none. Default ``"auto"``.
        task: ``"generate"`` text, ``"embed"`` it into vectors, or ``"rerank"`` documents with a
            cross-encoder.
        served_name: The name clients put in ``model=``. Default: the service's model.
        aliases: Further names that clients may put there.
        context_length: Tokens of prompt and answer together. Default: the model's own limit.
        tensor_parallel: GPUs that share each layer. Default: all of the container that
            ``pipeline_parallel`` and ``data_parallel`` leave.
        pipeline_parallel: Groups of GPUs that hold consecutive layers. Default 1.
        data_parallel: Whole copies of the model in the container. Default 1.
        dtype: Number format of weights and activations. Default: the model's own.
        quantization: Method the weights were quantised with, or are to be while loading.
        kv_cache_dtype: Number format of the KV cache, such as ``"fp8_e4m3"``.
        memory_fraction: Share of each GPU's memory the engine may take, above 0 and up to 1.
        max_running_requests: Requests that are decoded together at most.
        chunked_prefill: Whether long prompts are read in pieces between decode steps. Default:
            the engine's choice.
        prefill_chunk_tokens: Tokens of such a piece.
        prefix_caching: Keep the KV cache of shared beginnings. Default true.
        cuda_graphs: Capture CUDA graphs: slower start, faster decoding. Default true.
        attention_backend: Kernels for attention. Default: the engine's choice.
        load_format: How weights are read from disk. Default: the engine's choice, with files read
            ahead where they lie on a Volume.
        tool_parser: How this model family writes tool calls; without it none are found. Default:
            the recipe's; ``None`` takes none.
        reasoning_parser: How it marks its reasoning; without it that stays in the text. Default:
            the recipe's; ``None`` takes none.
        structured_output: What holds answers to a JSON schema or a grammar. Default: the
            engine's choice.
        multimodal_limits: Items of a kind in one request at most, such as ``{"image": 2}``.
        text_only: Leave out what reads images and sound. Default false.
        chat_template: Jinja template: ``"./chat.jinja"``, a file beside the service's that travels with
            its image, or an absolute path in the container. Default: the tokenizer's own.
        speculative: Speculative decoding.
        lora: LoRA adapters: loaded at the start, or when they are first asked for.
        lora_slots: Adapters in one batch at most. Default: the engine's.
        max_lora_rank: Highest rank among them.
        trust_remote_code: Run Python that comes with the weights. Default false.
        seed: Seed of sampling where a request has none.
        log_level: What the engine prints at least.
        extra_args: Further flags, one string per word, as the engine's own command line has
            them. Flags with a field of their own are refused.
        env: Environment variables of the engine; never secrets.

    Raises:
        DeclarationError: Anything the pinned version would refuse, all at once.
    """

    needs_gpu: ClassVar[bool] = True
    runtime_included: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    sleep_flags: ClassVar[tuple[str, ...]] = ()
    """What makes its sleep and wake routes work."""
    sleep_environment: ClassVar[Mapping[str, str]] = {}
    """Variables for the same."""

    table_name: ClassVar[EngineName]
    value_flags: ClassVar[Mapping[str, str]]
    """The flag of every field that is passed on as it is."""
    set_flags: ClassVar[Mapping[str, str]]
    """Further flags that a field decides, by flag."""
    volume_flags: ClassVar[tuple[str, ...]]
    """What makes it read weights ahead, where reading them waits for the network."""
    lora_flag: ClassVar[str]
    """The flag before adapters."""
    limits_flag: ClassVar[str]
    """The flag before limits of images, videos and sounds."""

    version: str
    unchecked_flags: bool = False
    base_image: str | None = None
    interpreter: str | None = None
    recipe: str | None = "auto"
    task: Literal["generate", "embed", "rerank"] = "generate"
    served_name: str | None = None
    aliases: tuple[str, ...] = ()
    context_length: PositiveInt | None = None
    tensor_parallel: PositiveInt | None = None
    pipeline_parallel: PositiveInt | None = None
    data_parallel: PositiveInt | None = None
    dtype: Literal["auto", "float16", "bfloat16", "float32"] | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    memory_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    max_running_requests: PositiveInt | None = None
    chunked_prefill: bool | None = None
    prefill_chunk_tokens: PositiveInt | None = None
    prefix_caching: bool = True
    cuda_graphs: bool = True
    attention_backend: str | None = None
    load_format: str | None = None
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    structured_output: (
        Literal["xgrammar", "llguidance", "outlines", "lm-format-enforcer", "none"] | None
    ) = None
    multimodal_limits: Mapping[Literal["image", "video", "audio"], NonNegativeInt] = Field(
        default_factory=dict
    )
    text_only: bool = False
    chat_template: str | None = None
    speculative: Speculative | None = None
    lora: Adapters = ()
    lora_slots: PositiveInt | None = None
    max_lora_rank: PositiveInt | None = None
    trust_remote_code: bool = False
    seed: int | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    extra_args: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def table(cls) -> FlagTable:
        """Return the flags of the pinned version."""
        return flag_table(cls.table_name)

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; ``python`` in it is the container's interpreter.

        Raises:
            DeclarationError: The container has too few GPUs for the parallelism asked for, or a
                number that it does not divide.
        """
        python, *program = self._program(launch)
        return (
            *(self.interpreter or python, *program),
            *(self.sleep_flags if launch.snapshot else ()),
            *self._parallelism(launch),
            *(word for pair in self._values() for word in pair),
            *self._switches(),
            *self._adapters(launch),
            *self._reading_ahead(launch),
            *self.extra_args,
        )

    def with_recipe(self, model: str | None) -> Self:
        """Return it as it serves a model: fields that were left out are the recipe's."""
        use = self.recipe_use(model)
        if use is None or not use.fields:
            return self
        declared = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**declared, **use.fields})

    def recipe_use(self, model: str | None) -> RecipeUse | None:
        """Return what a recipe decides where it serves a model; None without a recipe."""
        recipe = self._recipe_of(model)
        if recipe is None:
            return None
        declared = {name: getattr(self, name) for name in self.model_fields_set}
        return recipe.used_by(self.table_name, declared)

    def _recipe_of(self, model: str | None) -> Recipe | None:
        if self.recipe == "auto":
            return recipe_for(model) if model else None
        return recipe_named(self.recipe) if self.recipe else None

    def environment(self, launch: Launch) -> dict[str, str]:
        """Return the variables: huggingface_hub's for full speed, then the engine's ``env``."""
        sleeping = self.sleep_environment if launch.snapshot else {}
        return {"HF_XET_HIGH_PERFORMANCE": "1", **sleeping, **self.env}

    def repositories(self) -> Mapping[str, str | None]:
        """Return the hub ids of its adapters and of the model that guesses ahead, with commits."""
        draft = self.speculative.draft_model if self.speculative else None
        adapters = {one.source: one.revision for one in self.lora if one.is_on_hub}
        return {**adapters, **({draft: None} if draft and not draft.startswith("/") else {})}

    def _held(self, image: ImageSpec) -> ImageSpec:
        """Hold an image to the tested set, where this release is the tested one."""
        tested = engine_set(self.table_name)
        return image.holding(tested.layer()) if self.version == tested.version else image

    @abstractmethod
    def _program(self, launch: Launch) -> tuple[str, ...]:
        """Return the program and what the launch decides."""

    @abstractmethod
    def _switches(self) -> tuple[str, ...]:
        """Return the flags of fields that are not passed on as they are."""

    def _values(self) -> Iterator[tuple[str, str]]:
        for field, flag in self.value_flags.items():
            value = getattr(self, field)
            if value is not None:
                yield flag, str(value)

    def _adapters(self, launch: Launch) -> tuple[str, ...]:
        """The LoRA adapters of the start, each from where it lies in this container."""
        at_start = [one for one in self.lora if not one.on_demand]
        paths = [f"{one.name}={launch.adapters.get(one.name, one.source)}" for one in at_start]
        listed = (self.lora_flag, *paths) if paths else ()
        return ("--enable-lora", *listed) if self.serves_adapters() else ()

    def _reading_ahead(self, launch: Launch) -> tuple[str, ...]:
        given = {given.name for given in split_flags(self.extra_args)}
        if not launch.from_volume or self.volume_flags[0] in given:
            return ()
        if self.load_format == "fastsafetensors" and _FROM_FUSE[0] not in given:
            return _FROM_FUSE
        return () if self.load_format else self.volume_flags

    def _inputs(self) -> tuple[str, ...]:
        limits = json.dumps(dict(self.multimodal_limits), sort_keys=True)
        return (
            *((self.limits_flag, limits) if self.multimodal_limits else ()),
            *(("--language-model-only",) if self.text_only else ()),
        )

    def _parallelism(self, launch: Launch) -> tuple[str, ...]:
        """The tensor parallelism that fills the container."""
        copies = (self.pipeline_parallel or 1) * (self.data_parallel or 1)
        size = self.tensor_parallel or max(launch.gpu_count // copies, 1)
        has, needs = launch.gpu_count, size * copies
        if has and (needs > has or (self.tensor_parallel is None and needs != has)):
            msg = (
                f"{self.title}: {self._asked_for(size)} needs "
                f"{needs if needs > has else f'a multiple of {copies}'} GPUs, the container has "
                f"{has}. Write GPUProfile(..., count={needs}) or ask for less."
            )
            raise DeclarationError(msg)
        return (self._flag_of("tensor_parallel"), str(size)) if size > 1 else ()

    def _asked_for(self, size: int) -> str:
        asked = {
            "tensor_parallel": self.tensor_parallel and size,
            "pipeline_parallel": self.pipeline_parallel,
            "data_parallel": self.data_parallel,
        }
        return ", ".join(f"{field}={value}" for field, value in asked.items() if value)

    @classmethod
    def _flag_of(cls, field: str) -> str:
        return next(flag for flag, decided_by in cls.set_flags.items() if decided_by == field)

    @classmethod
    def meant_by(cls, name: str) -> str | None:
        """Say what to write for what the engine calls otherwise, by the flag of that name."""
        spelling = f"--{name.replace('_', '-')}"
        if instead := cls._decided_elsewhere().get(spelling):
            return instead
        flag = cls.table().find(spelling)
        return f"Write {cls.__name__}(extra_args=({flag.names[0]!r}, ...))." if flag else None

    @field_validator("extra_args", mode="before")
    @classmethod
    def _one_string_per_word(cls, value: object) -> object:
        if isinstance(value, str):
            msg = (
                f"{cls.__name__}.extra_args is one string. Write a tuple with one string per "
                "word: extra_args=('--flag', 'value')."
            )
            raise DeclarationError(msg)
        return value

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        return without_secrets(cls.__name__, env)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        problems = [*self._field_problems(), *self._flag_problems()]
        if problems:
            raise DeclarationError("\n".join(problems))
        return self

    def _field_problems(self) -> Iterator[str]:
        here = type(self).__name__
        if self.chunked_prefill is False and self.prefill_chunk_tokens is not None:
            yield (
                f"{here}.prefill_chunk_tokens is of no use with chunked_prefill=False. "
                "Leave one of them out."
            )
        for field in ("max_lora_rank", "lora_slots"):
            if getattr(self, field) is not None and not self.serves_adapters():
                yield f"{here}.{field} is of no use without lora=[LoRA('name', 'org/name')]."
        names = [one.name for one in self.lora]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{here}.lora has two adapters {name!r}. Give each its own name."
        if self.recipe not in {None, "auto"} and recipe_named(self.recipe or "") is None:
            known = [one.name for one in recipes()]
            yield f"{here}.recipe {self.recipe!r} is not known.{did_you_mean(self.recipe or '', known)}"
        if (template := self.chat_template or "").endswith(_TEMPLATE_FILES) and template[
            0
        ] not in "./":
            yield f"{here}.chat_template {template!r} is not in the container. Write './{template}' for a file beside the service's."
        if self.text_only and self.multimodal_limits:
            yield f"{here}.multimodal_limits is of no use with text_only=True. Leave one of them out."

    def serves_adapters(self) -> bool:
        """Return whether it has room for LoRA adapters."""
        return bool(self.lora)

    def _flag_problems(self) -> Iterator[str]:
        here = type(self).__name__
        table = self.table()
        reserved = self._reserved_flags()
        yield from reserved_problems(self.extra_args, f"{here}.extra_args", reserved)
        if self.unchecked_flags:
            return
        if self.version != table.version:
            yield (
                f"{here}(version={self.version!r}): modalkit knows the flags of "
                f"{table.version!r} (read {table.read_on}) and cannot check these. "
                f"Write version={table.version!r}, or add unchecked_flags=True."
            )
            return
        plugins = frozenset(given.name for given in split_flags(self.extra_args))
        for field, flag in self.value_flags.items():
            value = getattr(self, field)
            if value is not None:
                problems = flag_problems((f"{flag}={value}",), table, also_given=plugins)
                yield from (f"{here}.{field}: {problem}" for problem in problems)
        adapters = self._adapters(Launch(model="any", served_name="any"))
        for problem in flag_problems((*self._switches(), *adapters), table):
            yield f"{here}: {problem}"
        for problem in flag_problems(self.extra_args, table, skip=reserved):
            yield f"{here}.extra_args: {problem}"

    def _reserved_flags(self) -> dict[str, str]:
        """What to write instead, by every spelling of a flag that extra_args may not hold."""
        decided = "A field of this engine decides it already. Leave one of them out."
        switches = {given.name: decided for given in split_flags(self._switches())}
        return reserved_flags(switches, self.table()) | self._decided_elsewhere()

    @classmethod
    def _decided_elsewhere(cls) -> dict[str, str]:
        """What to write instead, by every spelling of a flag that never stands in extra_args."""
        fields = {flag: field for field, flag in cls.value_flags.items()} | dict(cls.set_flags)
        instead = {flag: f"Write {cls.__name__}({field}=...)." for flag, field in fields.items()}
        return reserved_flags(instead | OWNED_FLAGS, cls.table())
