"""What mypy must see through the public API. Read by mypy --strict, never run.

``assert_type`` holds what types survive; each ``type: ignore`` holds an error that must be
reported, because an unused one is an error itself.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

import modal
from pydantic import BaseModel

from modalkit import (
    Batch,
    Cron,
    Echo,
    Endpoint,
    GPUProfile,
    ImageSpec,
    Message,
    ModelFacts,
    ModelService,
    Reply,
    Resources,
    Scaling,
    Secret,
    SGLang,
    WeightCache,
    endpoint,
    read_model,
    serve,
    size,
)

app = modal.App("types")


@serve(app)
class Chat(ModelService):
    model = "Qwen/Qwen3-8B"
    engine = SGLang(context_length=32_768)
    gpu = GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])
    weights = WeightCache("qwen3")
    scaling = Scaling(max_containers=2)


assert_type(Chat().generate.remote("x"), str)
assert_type(Chat().generate.remote("x", max_tokens=5), str)
assert_type(Chat().chat.remote([{"role": "user", "content": "x"}]), Reply)
assert_type(Chat().embed.remote(["x"]), list[list[float]])
assert_type(Chat().generate.spawn("x").get(), str)
answer: Coroutine[Any, Any, str] = Chat().generate.local("x")


async def asynchronous() -> None:
    assert_type(await Chat().generate.remote.aio("x"), str)


seen = Chat().chat.remote(
    [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}},
                {"type": "text", "text": "What is this?"},
            ],
        }
    ]
)
assert_type(seen.message(), Message)
Chat().chat.remote([seen.message(), {"role": "tool", "tool_call_id": "1", "content": "4"}])
Chat().chat.remote([{"role": "user", "content": [{"type": "image"}]}])  # type: ignore[list-item]

Chat().generate.remote(3)  # type: ignore[arg-type]
Chat().generate.remote("x", max_token=5)  # type: ignore[call-arg]
Chat().chat.remote([{"role": "usr", "content": "x"}])  # type: ignore[typeddict-item]
Chat().generat  # type: ignore[attr-defined]


class Ask(BaseModel):
    text: str


class Answer(BaseModel):
    vector: list[float]


@serve(app)
class Embedder(ModelService):
    """A custom model whose routes may take the names of engine methods."""

    gpu = GPUProfile("T4")
    image = ImageSpec(python="3.12").pip("sentence-transformers==6.0.1", "torch==2.13.0")
    api = Endpoint(public=True)

    def load(self) -> None:
        self.size = 3

    async def unload(self) -> None: ...

    @endpoint("/embed", batch=Batch(max_size=64, max_wait_ms=5))
    def embed(self, requests: list[Ask]) -> list[Answer]:
        return [Answer(vector=[0.0] * self.size) for _ in requests]

    @endpoint("/generate")
    async def generate(self, text: str, times: int = 1) -> int:
        return len(text) * times

    @modal.method()
    def size_of(self, text: str) -> int:
        return len(text)


assert_type(Embedder().embed.remote(Ask(text="x")), Answer)
assert_type(Embedder().embed.spawn(Ask(text="x")).get(), Answer)
assert_type(Embedder().generate.remote("x", times=2), int)
assert_type(Embedder().size_of.remote("x"), int)
Embedder().embed.remote([Ask(text="x")])  # type: ignore[arg-type]
Embedder().generate.remote(text=3)  # type: ignore[arg-type]


@serve(app)
class Toned(ModelService):
    """A parametrised service: its parameters are keywords, as with Modal's own app.cls."""

    engine = Echo()
    tone: str = modal.parameter(default="calm")
    size: int = modal.parameter()


assert_type(Toned(size=3, tone="loud").generate.remote("x"), str)
Toned(size="3")  # type: ignore[arg-type]
Toned(sise=3)  # type: ignore[call-arg]

# Builders alone, in plain Modal code.
assert_type(GPUProfile("H100", count=2).to_modal(), str | list[str])
assert_type(ImageSpec().pip("torch==2.13.0").to_modal(), modal.Image)
app.function(
    gpu=GPUProfile("H100:2").to_modal(),
    image=ImageSpec().to_modal(),
    volumes=WeightCache("data").to_modal(),
    secrets=[Secret("huggingface", keys=["HF_TOKEN"]).to_modal()],
    schedule=Cron("0 6 * * *").to_modal(),
    **Scaling(max_containers=2).to_modal(),
    **Resources(cpu=2.0).to_modal(),
)
GPUProfile("H100", cuont=2)  # type: ignore[call-arg]
SGLang(context_lenght=1)  # type: ignore[call-arg]


class WrongTypes(ModelService):
    gpu = "H100"  # type: ignore[assignment]
    scaling = 3  # type: ignore[assignment]


@serve(app)
class NotAService: ...  # type: ignore[type-var]


class Fitted(ModelService):
    gpu = GPUProfile.fit(context=8192, allowed=["L4", "H100"])


facts = read_model("folder")
assert_type(facts, ModelFacts)
assert_type(facts.kv_bytes_per_token(), int)
assert_type(size(facts).picks[0].usd_per_hour, float)
size(facts, engine="vlm")  # type: ignore[arg-type]
GPUProfile.fit(contxt=8192)  # type: ignore[call-arg]
