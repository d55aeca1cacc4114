"""Five services and three plain functions: everything `modalkit plan` has to show."""

from types import MappingProxyType

import modal

from modalkit import (
    CORS,
    VLLM,
    Batch,
    BearerKeys,
    Endpoint,
    GPUProfile,
    ImageSpec,
    ModelService,
    Resources,
    Scaling,
    Secret,
    SGLang,
    Transformers,
    WeightCache,
    endpoint,
    serve,
)

app = modal.App(
    "shop",
    secrets=[modal.Secret.from_dict({"APP_WIDE": "canary-of-the-app"})],
    volumes={"/shared": modal.Volume.from_name("shared", create_if_missing=True)},
)


@serve(app)
class Chat(ModelService):
    """Answers customers."""

    model = "./models/qwen3-8b"
    engine = SGLang(context_length=8192)
    gpu = GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])
    weights = WeightCache("qwen3")
    scaling = Scaling(min_containers=0, max_containers=4)
    secrets = (Secret("huggingface", keys=["HF_TOKEN"]),)
    api = Endpoint(auth=BearerKeys(), metrics="key")


@serve(app)
class Large(ModelService):
    """The same model with long contexts, behind Modal's low-latency servers."""

    model = "./models/qwen3-8b"
    engine = VLLM(context_length=32_768)
    gpu = GPUProfile("H100:2")
    scaling = Scaling(min_containers=1, max_containers=2)
    api = Endpoint(kind="server", routing_region="eu-west")
    resources = Resources(cpu=8, memory_mib=65_536, region="eu")


@serve(app)
class Embedder(ModelService):
    """Sizing knows its folder, and it is small."""

    model = "./models/qwen3-8b"
    engine = Transformers()
    gpu = GPUProfile("A10")
    scaling = Scaling(max_containers=1)


@serve(app)
class Remote(ModelService):
    """A model of the hub that nothing is known of offline."""

    model = "Qwen/Qwen3-32B"
    revision = "9216db5781bf21249d130ec9da846c4624c16137"
    engine = VLLM()
    gpu = GPUProfile("H200")
    scaling = Scaling(max_containers=1)


@serve(app)
class Tickets(ModelService):
    """A custom model on CPU."""

    image = ImageSpec(python="3.12").apt("git").pip("numpy==2.4.6").env(WORKERS="2")
    api = Endpoint("/tickets", public=True, cors=CORS("https://shop.example.com"))
    scaling = Scaling(max_containers=2)
    env = MappingProxyType({"GREETING": "hello"})

    @endpoint("/sort", batch=Batch(max_size=8))
    def sort(self, texts: list[str]) -> list[int]:
        """Rank texts by their length."""
        return [len(text) for text in texts]


@app.function(
    gpu="T4",
    schedule=modal.Cron("0 6 * * *"),
    volumes={"/data": modal.Volume.from_name("reports", create_if_missing=True)},
    secrets=[modal.Secret.from_name("warehouse"), modal.Secret.from_dict({"KEY": "canary-here"})],
    timeout=900,
    memory=2048,
)
def nightly() -> None:
    """Plain Modal code beside the services."""


@app.function()
@modal.fastapi_endpoint()
def health() -> str:
    """Open to anyone."""
    return "ok"


@app.local_entrypoint()
def main() -> None:
    """Run on this machine."""
