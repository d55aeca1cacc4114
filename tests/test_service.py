"""The class body of a service: what it may say, and what it becomes as a plan."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import modal
import pytest

from modalkit import (
    VLLM,
    Batch,
    BearerKeys,
    Echo,
    Endpoint,
    GPUProfile,
    ImageSpec,
    ModelService,
    ProxyAuth,
    Scaling,
    Secret,
    ServicePlan,
    SGLang,
    Transformers,
    WeightCache,
    endpoint,
    plan_service,
)
from modalkit.errors import DeclarationError, PlanError


def service(**body):
    """A service class with this body."""
    return type("Chat", (ModelService,), body)


QWEN = {"model": "Qwen/Qwen3-8B", "engine": SGLang(), "gpu": GPUProfile("L40S")}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"scalling": Scaling()}, "Chat.scalling is not a declaration. Did you mean 'scaling'?"),
        ({"modle": "Qwen/Qwen3-8B"}, "Did you mean 'model'?"),
        ({"gpus": "H100"}, "Did you mean 'gpu'?"),
        ({"endpoint": Endpoint()}, "Write api = Endpoint(...)"),
        ({"labels": ["a", "b"]}, "labels: ClassVar[...] = ..."),
        ({"my_gpu": GPUProfile("T4")}, "Chat.my_gpu is not a declaration"),
        ({"gpu": "H100"}, "Chat.gpu cannot be str. Write gpu = GPUProfile('L40S')."),
        ({"engine": VLLM}, "Chat.engine cannot be the class VLLM. Write engine = SGLang()."),
        ({"engine": "vllm"}, "Chat.engine cannot be str"),
        ({"scaling": {"max": 2}}, "Chat.scaling cannot be dict"),
        ({"scaling": None}, "Chat.scaling cannot be NoneType"),
        ({"weights": "cache"}, "Write weights = WeightCache('qwen3')."),
        ({"secrets": Secret("a")}, "Chat.secrets cannot be Secret. Write secrets = [Secret("),
        ({"secrets": ["hf_verysecret"]}, "not a Secret (not shown)"),
        ({"image": modal.Image.debian_slim()}, "Chat.image cannot be Image"),
        ({"api": "/x"}, "Chat.api cannot be str"),
        ({"api": False}, "Chat.api cannot be bool"),
        ({"env": ["A=1"]}, "Chat.env cannot be list"),
        ({"env": {"A": 1}}, "'A' maps to int"),
        ({"env": {"HF_TOKEN": "hunter2"}}, "'HF_TOKEN', which looks like a secret"),
        ({"env": {"MODALKIT_API_KEY": "hunter2"}}, "looks like a secret"),
        ({"model": Path("x")}, "Chat.model cannot be PosixPath"),
        ({"model": "https://example.com/m"}, "neither a hub id"),
        ({"model": "~/m"}, "neither a hub id"),
        ({"model": ""}, "neither a hub id"),
        ({"load": modal.enter()(lambda self: None)}, "Write def load(self)."),
        ({"laod": lambda self: None}, "Chat.laod is never called. Did you mean 'load'?"),
        ({"warmup": lambda self: None}, "Did you mean 'warm_up'?"),
        ({"http": lambda self: None}, "the name of modalkit's web endpoint"),
    ],
)
def test_a_name_nothing_reads_is_an_error(body, said):
    """A misspelt or unknown attribute in a class body is refused with what to write."""
    with pytest.raises(DeclarationError) as caught:
        service(**body)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "verysecret" not in str(caught.value)


def test_a_misspelt_declaration_with_an_annotation_is_an_error_too():
    """An annotation does not hide a misspelling."""
    with pytest.raises(DeclarationError, match="Did you mean 'scaling'"):

        class Chat(ModelService):
            scalling: ClassVar[Scaling] = Scaling()


def test_constants_methods_and_parameters_are_the_users_own():
    """Annotated constants, private names, methods and Modal parameters are left alone."""

    class Own(ModelService):
        labels: ClassVar[list[str]] = ["a"]
        mode: ClassVar[str] = "fast"
        _cache = 3
        name: str = modal.parameter(default="x")

        def helper(self) -> int:
            return self._cache

        @modal.method()
        def predict(self, text: str) -> str:
            return text

        @property
        def size(self) -> int:
            return 1

        @staticmethod
        def clean(text: str) -> str:
            return text

    assert Own.labels == ["a"]


def test_declarations_are_inherited_and_overridden():
    """A subclass changes what it names and keeps the rest."""

    class Small(ModelService):
        model = "Qwen/Qwen3-8B"
        engine = SGLang()
        gpu = GPUProfile("L40S")

    class Big(Small):
        gpu = GPUProfile("H100:2")

    plan = plan_service(Big)
    assert plan.model == "Qwen/Qwen3-8B"
    assert plan.engine.argv[plan.engine.argv.index("--tp-size") + 1] == "2"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"engine": SGLang(), "gpu": GPUProfile("L4")}, "engine SGLang needs a model"),
        ({"engine": VLLM(), "model": "a/b"}, "engine vLLM needs a GPU"),
        ({**QWEN, "model": "/models/x", "revision": "0" * 40}, "names a hub commit"),
        ({"revision": "0" * 40}, "has no model to belong to"),
        (
            {"model": "./m", "engine": Echo(), "weights": WeightCache("w", mount="/models")},
            "Mount at '/cache'",
        ),
        (
            {
                **QWEN,
                "engine": SGLang(tensor_parallel=2),
                "gpu": GPUProfile("H100:2", fallbacks=["L4:1"]),
            },
            "on L4: ",
        ),
        ({**QWEN, "load": lambda self: None}, "load is never called: SGLang serves the model"),
        (
            {**QWEN, "engine": SGLang(metrics=False), "api": Endpoint(metrics="key")},
            "nothing to show with SGLang(metrics=False)",
        ),
        (
            {
                **QWEN,
                "engine": VLLM(env={"VLLM_SERVER_DEV_MODE": "1"}),
                "api": Endpoint(kind="server"),
            },
            "serves /sleep, /collective_rpc and /update_weights without a key",
        ),
        *(
            (
                {**QWEN, "engine": VLLM(), "api": Endpoint(kind="server"), **declared},
                "VLLM_SERVER_DEV_MODE, by which vLLM serves administration without a key",
            )
            for declared in (
                {"env": {"VLLM_SERVER_DEV_MODE": "1"}},
                {"image": ImageSpec.engine().env({"VLLM_SERVER_DEV_MODE": "1"})},
                {"secrets": [Secret("team", keys=["VLLM_SERVER_DEV_MODE"])]},
            )
        ),
        ({"api": Endpoint(kind="server")}, "has nothing to serve"),
        ({"image": ImageSpec.engine().pip("x==1")}, "there is no engine"),
        (
            {"secrets": [Secret("team", keys=["TEAM"])], "env": {"TEAM": "x"}},
            "env sets 'TEAM'",
        ),
    ],
)
def test_declarations_that_do_not_go_together(body, said):
    """A combination that cannot work is refused with the service's name and the remedy."""
    with pytest.raises(PlanError) as caught:
        plan_service(service(**body))
    assert "Chat: " in str(caught.value)
    assert said in str(caught.value)


def test_every_conflict_is_reported_at_once():
    """A tired person fixes all of a service's conflicts in one go."""
    with pytest.raises(PlanError) as caught:
        plan_service(service(engine=SGLang(), revision="0" * 40))
    assert len(caught.value.problems) == 3


class Routes(ModelService):
    @endpoint("/a", batch=Batch(16))
    def first(self, requests: list[int]) -> list[int]:
        return requests

    @endpoint("/b")
    def second(self, text: str) -> str:
        return text


def test_routes_conflict_with_what_makes_them_useless():
    """Two routes on a path, a path of modalkit's own, a batch that never fills, no HTTP at all."""

    class Twice(Routes):
        @endpoint("/a")
        def third(self, text: str) -> str:
            return text

        @endpoint("/docs")
        def fourth(self, text: str) -> str:
            return text

    with pytest.raises(PlanError) as caught:
        plan_service(Twice)
    assert "first and third have the same path '/a'" in str(caught.value)
    assert "'/docs' is modalkit's own" in str(caught.value)
    with pytest.raises(PlanError, match="Write concurrency=32"):
        plan_service(type("Slow", (Routes,), {"scaling": Scaling(concurrency=4)}))
    with pytest.raises(PlanError, match="api = None"):
        plan_service(type("Closed", (Routes,), {"api": None}))
    with pytest.raises(PlanError, match="whose routes are the engine's"):
        plan_service(type("Both", (Routes,), QWEN))


def test_concurrency_follows_what_serves():
    """An engine takes many inputs, batches twice their size, a plain custom model one at a time."""
    assert plan_service(service(**QWEN)).concurrency == 64
    assert plan_service(Routes).concurrency == 32
    assert plan_service(service()).concurrency == 1
    assert plan_service(service(scaling=Scaling(concurrency=5))).concurrency == 5


def test_the_model_is_where_the_container_finds_it():
    """A hub id and an absolute path stay; a folder beside the file goes below /models."""
    assert plan_service(service(**QWEN)).model == "Qwen/Qwen3-8B"
    local = plan_service(service(model="./models/small-chat", engine=Transformers()))
    assert (local.model, local.model_folder) == ("/models/small-chat", "./models/small-chat")
    assert local.engine.launch.served_name == "small-chat"


def test_keys_bring_their_secret_and_nothing_else_does():
    """An endpoint with keys brings their Secret; public and proxy endpoints bring none."""
    plan = plan_service(service(**QWEN, api=Endpoint(auth=[ProxyAuth(), BearerKeys()])))
    assert [secret.name for secret in plan.secrets] == ["modalkit-api-key"]
    assert plan.secrets[0].keys == ("MODALKIT_API_KEY",)
    for api in (Endpoint(public=True), Endpoint(), None):
        plan = plan_service(service(**QWEN, api=api))
        assert plan.secrets == ()


@pytest.mark.parametrize("rules", [{}, {"public": True}, {"auth": BearerKeys()}])
def test_behind_the_gateway_the_engine_is_on_loopback_and_as_a_server_it_has_the_door(rules):
    """Whoever faces the network has the door in front: the gateway, or the engine itself."""
    web = plan_service(service(**QWEN)).engine.launch
    assert (web.host, web.door) == ("127.0.0.1", False)
    server = plan_service(service(**QWEN, api=Endpoint(kind="server", port=9000, **rules)))
    assert server.engine.launch.host == "0.0.0.0"
    assert server.engine.launch.port == 9000
    assert server.engine.launch.door
    assert server.methods == ()


def test_images_hold_what_modalkit_needs():
    """The user's image gets modalkit's requirements before its own and modalkit's source last."""
    plan = plan_service(service(image=ImageSpec().pip("numpy==2.4.6")))
    kinds = [layer.kind for layer in plan.image.ordered]
    assert kinds == ["uv", "pip", "local_python"]
    assert plan.image.pinned
    engine = plan_service(service(**QWEN, image=ImageSpec.engine().pip("numpy==2.4.6")))
    assert "sglang" in engine.image.base.tag
    assert engine.image.ordered[-1].modules == ("modalkit",)


def test_weights_point_the_caches_at_the_volume():
    """A weight cache brings its environment; the service's own env has the last word."""
    plan = plan_service(
        service(**QWEN, weights=WeightCache("q", mount="/w"), env={"HF_XET_HIGH_PERFORMANCE": "0"})
    )
    assert plan.environment["HF_HUB_CACHE"].startswith("/w/")
    assert plan.environment["HF_XET_HIGH_PERFORMANCE"] == "0"


def test_plans_are_data():
    """A plan goes to JSON and back unchanged, and planning twice gives the same plan."""
    declared = service(**QWEN, weights=WeightCache("q"), secrets=[Secret("hub", keys=["HF_TOKEN"])])
    plan = plan_service(declared)
    assert plan == plan_service(declared)
    assert ServicePlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_method_of_the_users_own_keeps_its_place():
    """A service with an engine may write its own generate; modalkit adds the others."""

    class Polite(ModelService):
        model = "a/b"
        engine = Echo()

        @modal.method()
        async def generate(self, prompt: str) -> str:
            return prompt

    assert plan_service(Polite).methods == ("chat", "stream", "embed", "rerank")


def test_weights_path_needs_weights():
    """Asking for the path of weights nobody declared says what to declare."""

    class Custom(ModelService):
        weights = WeightCache("w", mount="/w")

    assert str(Custom().weights_path) == "/w"
    with pytest.raises(DeclarationError, match="declares no weights"):
        service()().weights_path  # noqa: B018 - the property raises
