"""What holds for each modal client that is served: run with the oldest by scripts/older_modal."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

import modalkit.local
from modalkit.local import protocol
from modalkit.local.protocol import api, fitting, gives, router, text_of

SOURCES = Path(modalkit.local.__file__).parent
PROTOCOLS = {"api": api, "router": router}


def messages_made() -> Iterator[tuple[str, object, set[str]]]:
    """Find every message that the local Modal makes by its name, and the fields it gives it."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            root, *names = ast.unparse(node.func).split(".")
            made = PROTOCOLS.get(root)
            for name in names:
                made = getattr(made, name, None)
            if hasattr(made, "DESCRIPTOR"):
                given = {word.arg for word in node.keywords if word.arg}
                yield f"{path.relative_to(SOURCES)}:{node.lineno} {'.'.join(names)}", made, given


def test_every_message_fits_the_installed_protocol():
    """A field that some client lacks is given through `fitting`, never to the message itself."""
    made = list(messages_made())
    assert len(made) > 100
    unknown = {
        where: given - set(message.DESCRIPTOR.fields_by_name)
        for where, message, given in made
        if hasattr(message.DESCRIPTOR, "fields_by_name")
    }
    assert {where: fields for where, fields in unknown.items() if fields} == {}


def test_only_one_module_knows_versions():
    """Nothing but `protocol` asks which modal is installed."""
    asks = re.compile(r'version\("modal"|modal\.__version__')
    asking = [path.name for path in SOURCES.rglob("*.py") if asks.search(path.read_text())]
    assert asking == ["protocol.py"]


def test_what_a_protocol_lacks_is_left_out():
    """A field that the installed protocol does not know is dropped, others are kept."""
    made = fitting(api.AppCreateResponse, app_id="ap-1", no_such_field=7)
    assert made.app_id == "ap-1"


@pytest.mark.parametrize("message", [Empty(), api.AppStopRequest()])
def test_what_a_request_cannot_say_it_does_not_say(message):
    """Parts and texts that a protocol lacks read as not given."""
    assert not gives(message, "no_such_part")
    assert text_of(message, "no_such_text") == ""


def test_the_version_is_the_installed_ones():
    """Messages name the version that the package metadata names."""
    assert importlib.metadata.version("modal") == protocol.MODAL_VERSION
