"""A chat template beside the service's file: it travels with the image, and the engine is told where."""

from __future__ import annotations

import sys
from types import ModuleType

import modal
import pytest

from modalkit import VLLM, GPUProfile, ModelService, SGLang, plan_service, serve
from modalkit.compile import _image
from modalkit.declare.image.layers import LocalFile
from modalkit.errors import DeclarationError


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A module with a file, in a folder of its own."""
    module = ModuleType("a_service_with_a_template")
    module.__file__ = str(tmp_path / "chat.py")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return tmp_path


def service(engine):
    """A service of that module."""
    body = {
        "__module__": "a_service_with_a_template",
        "model": "org/model",
        "engine": engine,
        "gpu": GPUProfile("L4"),
    }
    return type("Chat", (ModelService,), body)


@pytest.mark.parametrize("engine", [SGLang, VLLM])
def test_the_engine_is_given_the_file_in_the_container(beside, engine):
    """The flag names where the file will be; the image that is built holds it there."""
    (beside / "chat.jinja").write_text("{{ messages }}")
    kind = service(engine(chat_template="./chat.jinja"))
    plan = plan_service(kind)
    argv = plan.engine.argv
    assert argv[argv.index("--chat-template") + 1] == "/modalkit/chat.jinja"
    files = [layer for layer in _image(kind, plan).layers if isinstance(layer, LocalFile)]
    assert [(file.source, file.target) for file in files] == [
        (str(beside / "chat.jinja"), "/modalkit/chat.jinja")
    ]


def test_a_template_of_the_container_stays_as_it_is():
    """An absolute path, such as one in the model's own folder, is passed on."""
    argv = plan_service(service(VLLM(chat_template="/templates/a.jinja"))).engine.argv
    assert "/templates/a.jinja" in argv


def test_a_missing_template_names_the_file_it_looked_for(beside):
    """Before anything is built, with the whole path."""
    with pytest.raises(
        DeclarationError, match=r"chat_template './gone\.jinja', but '.*gone\.jinja'"
    ):
        serve(modal.App("gone"))(service(VLLM(chat_template="./gone.jinja")))
