"""What modalkit hands to Modal, checked against the installed modal and registered offline."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

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
    Resources,
    Scaling,
    Secret,
    SGLang,
    WeightCache,
    endpoint,
    plan_service,
    serve,
)
from modalkit.compile import cls_keywords, server_keywords
from modalkit.errors import DeclarationError, PlanError

PACKAGE = Path(__file__).parent.parent / "src" / "modalkit"

FULL = {
    "model": "Qwen/Qwen3-8B",
    "engine": SGLang(),
    "gpu": GPUProfile("L40S", fallbacks=["H100"]),
    "weights": WeightCache("qwen3"),
    "image": ImageSpec.engine().pip("numpy==2.4.6").env(GREETING="hello"),
    "secrets": [Secret("hub", keys=["HF_TOKEN"])],
    "env": {"LOG": "1"},
}


def service(**body):
    return type("Chat", (ModelService,), {"__module__": __name__, **FULL, **body})


def test_class_keywords_exist_in_the_installed_modal():
    """Every keyword for app.cls is in its signature, with everything declared."""
    declared = service(
        scaling=Scaling(max_containers=2, buffer_containers=1, retries=1),
        resources=Resources(cpu=(2, 4), memory_mib=8192, disk_mib=600_000, region="us"),
        api=Endpoint(routing_region="us-east"),
    )
    keywords = cls_keywords(declared, plan_service(declared))
    assert set(keywords) <= set(inspect.signature(modal.App.cls).parameters)
    assert {"gpu", "volumes", "secrets", "env", "cpu", "region", "retries"} <= set(keywords)


def test_server_keywords_exist_in_the_installed_modal():
    """Every keyword for app.server is in its signature, with everything declared."""
    declared = service(
        api=Endpoint(kind="server", routing_region="us-west"),
        scaling=Scaling(max_containers=2, concurrency=64, target_concurrency=32),
        resources=Resources(cpu=2, region="us"),
    )
    keywords = server_keywords(declared, plan_service(declared))
    assert set(keywords) <= set(inspect.signature(modal.App.server).parameters)
    assert {"compute_region", "port", "target_concurrency"} <= set(keywords)


def test_only_public_names_of_modal_are_used():
    """Outside the local Modal no private name of modal is touched."""
    for path in PACKAGE.rglob("*.py"):
        if "local" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[0] == "modal":
                assert not node.attr.startswith("_"), f"{path}:{node.lineno} modal.{node.attr}"
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modal."):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not any(name.startswith("_") for name in names), f"{path}:{node.lineno}"


def test_a_service_registers_under_the_users_name():
    """The Modal class has the user's class name, the methods and the web endpoint."""
    app = modal.App("test")
    compiled = serve(app)(service())
    assert isinstance(compiled, modal.Cls)
    instance = compiled()
    for name in ("generate", "chat", "stream", "embed", "http"):
        assert isinstance(getattr(instance, name), modal.Function), name


def test_a_server_is_a_modal_server():
    """Endpoint(kind="server") compiles to app.server."""
    app = modal.App("test")
    compiled = serve(app)(service(engine=VLLM(), api=Endpoint(kind="server")))
    assert isinstance(compiled, modal.Server)


def test_the_users_methods_and_parameters_stay_modals():
    """A parametrised class with a method of its own compiles beside modalkit's."""
    app = modal.App("test")

    class Chat(ModelService):
        engine = Echo()
        tone: str = modal.parameter(default="calm")

        @modal.method()
        def own(self) -> str:
            return self.tone

    Chat.__module__ = __name__
    Chat.__qualname__ = "Chat"
    instance = serve(app)(Chat)(tone="loud")
    assert isinstance(instance.own, modal.Function)
    assert isinstance(instance.generate, modal.Function)


def test_without_http_there_is_no_web_endpoint():
    """A service with api = None has no web function, nor a custom one without routes."""
    for declared in (service(api=None), service(engine=None, image=None, model=None)):
        app = modal.App("test")
        instance = serve(app)(declared)()
        with pytest.raises(AttributeError):
            instance.http  # noqa: B018 - Modal raises on access


def test_routes_become_methods():
    """A typed route is a remote method under its own name."""

    class Chat(ModelService):
        @endpoint("/measure", batch=Batch(4))
        def measure(self, texts: list[str]) -> list[int]:
            return [len(text) for text in texts]

    Chat.__module__ = __name__
    Chat.__qualname__ = "Chat"
    app = modal.App("test")
    assert isinstance(serve(app)(Chat)().measure, modal.Function)


def test_nothing_is_registered_when_the_plan_fails():
    """A conflict stops before the app knows of the service."""
    app = modal.App("test")
    with pytest.raises(PlanError):
        serve(app)(service(gpu=None))
    assert serve(app)(service())


def test_a_missing_model_folder_names_the_file_it_looked_for():
    """A folder beside the file that is not there is an error on this machine, with its path."""
    with pytest.raises(DeclarationError, match=r"tests/no-such-model/config\.json does not exist"):
        serve(modal.App("test"))(service(model="./no-such-model"))


def test_serve_takes_services_only():
    """Decorating something else says what belongs there."""
    with pytest.raises(DeclarationError, match="takes a subclass of ModelService"):
        serve(modal.App("test"))(int)
    for wrong in (service(), "chat", None):
        with pytest.raises(DeclarationError, match=r"Write @serve\(app\) above the class"):
            serve(wrong)


def test_secrets_reach_modal_in_order():
    """The keywords hold the service's secrets and then the endpoint's key, by name."""
    api = Endpoint(auth=BearerKeys())
    declared = service(secrets=[Secret("a", keys=["A"]), Secret("b")], api=api)
    keywords = cls_keywords(declared, plan_service(declared))
    assert [secret.name for secret in plan_service(declared).secrets] == [
        "a",
        "b",
        "modalkit-api-key",
    ]
    assert len(keywords["secrets"]) == 3


def test_a_region_for_routing_belongs_to_the_class():
    """Endpoint(routing_region=...) of kind web becomes a keyword of app.cls."""
    declared = service(api=Endpoint(routing_region="eu-west"))
    assert cls_keywords(declared, plan_service(declared))["routing_region"] == "eu-west"


def test_a_route_without_types_is_found_before_the_deploy():
    """Every untyped route of a service is named at once when it is compiled."""

    class Chat(ModelService):
        @endpoint("/a")
        def first(self, text):
            return text

        @endpoint("/b", batch=Batch(4))
        def second(self, text: str) -> str:
            return text

    with pytest.raises(PlanError) as caught:
        serve(modal.App("test"))(Chat)
    assert len(caught.value.problems) == 2


def test_proxy_auth_is_modals():
    """ProxyAuth leaves the checking to Modal's edge."""
    plan = plan_service(service(api=Endpoint(auth=ProxyAuth())))
    assert plan.endpoint.to_modal()["requires_proxy_auth"] is True
