"""Options that a file keeps in dicts: which there are, which are sure, and when there may be others."""

from __future__ import annotations

import ast

import pytest

from modalkit.check.declared import ModalFile
from modalkit.check.runner import check_source
from modalkit.check.source import parse_source

TAIL = "\n\n@app.function(**kw)\ndef f(): ...\n"


def entries(text: str) -> tuple[dict[str, bool], bool]:
    """The options that `**kw` gives, each with whether it is sure, and whether these are all."""
    file = ModalFile(parse_source("a.py", f"import modal\n\napp = modal.App('x')\n{text}{TAIL}"))
    call = file.units[0].registered.node
    assert isinstance(call, ast.Call)
    found = file.mappings.entries(call.keywords[0].value)
    return {one.name: one.sure for one in found.found}, found.complete


@pytest.mark.parametrize(
    "text",
    [
        "kw = {'cpu': 1, 'memory': 2}",
        "kw = dict(cpu=1, memory=2)",
        "kw = {'cpu': 1}\nkw['memory'] = 2",
        "kw = {'cpu': 1}\nkw.update(memory=2)",
        "kw = {'cpu': 1}\nkw.update({'memory': 2})",
        "kw = {'cpu': 1}\nkw |= {'memory': 2}",
        "kw = {}\nkw.setdefault('cpu', 1)\nkw.setdefault('memory', 2)",
        "base = {'cpu': 1}\nkw = {**base, 'memory': 2}",
        "base = {'cpu': 1}\nkw = dict(base, memory=2)",
        "base = {'cpu': 1}\nkw = base | {'memory': 2}",
        "import copy\nbase = {'cpu': 1}\nkw = copy.copy(base)\nkw['memory'] = 2",
        "base = {'cpu': 1, 'memory': 2}\nkw = base.copy()",
        "def make():\n    found = {'cpu': 1}\n    found['memory'] = 2\n    return found\nkw = make()",
        "kw: dict = {'cpu': 1, 'memory': 2}",
        "CPU = 'cpu'\nkw = {CPU: 1, 'memory': 2}",
    ],
)
def test_options_are_followed_to_all_of_them(text):
    """However a dict is put together, its options are known, and that these are all."""
    assert entries(text) == ({"cpu": True, "memory": True}, True)


@pytest.mark.parametrize(
    "text",
    [
        "kw = {'cpu': 1} if x else {'memory': 2}",
        "kw = {}\nif x:\n    kw['cpu'] = 1\nelse:\n    kw['memory'] = 2",
        "if x:\n    kw = {'cpu': 1}\nelse:\n    kw = {'memory': 2}",
        "def make(x):\n    if x:\n        return {'cpu': 1}\n    return {'memory': 2}\nkw = make(1)",
        "kw = {}\ndef later():\n    kw['cpu'] = 1\n    kw['memory'] = 2",
    ],
)
def test_what_may_be_there_is_not_sure(text):
    """An option that is there on one way through the program is known and not sure."""
    assert entries(text) == ({"cpu": False, "memory": False}, True)


@pytest.mark.parametrize(
    "text",
    [
        "kw = load()",
        "kw = {name: 1}",
        "kw = {'cpu': 1}\ndel kw['cpu']",
        "kw = {'cpu': 1}\nkw.pop('cpu')",
        "kw = {'cpu': 1}\nkw.update(load())",
        "kw = {k: v for k, v in pairs}",
        "class C:\n    options = {'cpu': 1}\nkw = C.options",
        "T = {'a': {'cpu': 1}}\nkw = T['a']",
        "for kw in many:\n    pass",
        "from settings import kw",
    ],
)
def test_what_is_not_followed_may_hold_others(text):
    """A dict that comes from elsewhere, or loses options, may have any."""
    assert entries(text)[1] is False


def test_options_go_through_the_function_that_registers():
    """The `**options` of a function are what its calls give beside its own parameters."""
    text = (
        "import modal\n\napp = modal.App('x')\n\n\ndef on(size, **more):\n"
        "    return app.function(**more)\n\n\n@on(3, cpu=1)\ndef f(): ...\n"
    )
    file = ModalFile(parse_source("a.py", text))
    spread = next(one.value for one in file.nodes.of(ast.keyword) if one.arg is None)
    assert [one.name for one in file.mappings.entries(spread).found] == ["cpu"]


def test_dicts_of_themselves_end():
    """Dicts and tables that spread each other are followed to an end."""
    text = "a = {**b}\nb = {**a, 'cpu': 1}\nT = {'x': T['y'], 'y': T['x']}\nkw = {**a, **T['x']}"
    assert entries(text)[0] == {"cpu": True}


@pytest.mark.parametrize(
    ("line", "found"),
    [("kw['timeout'] = 3600", False), ("kw.update(timeout=3600)", False), ("kw['cpu'] = 2", True)],
)
def test_rules_see_what_was_added_to_a_dict(line, found):
    """A limit that is added to a dict of options counts like one in the decorator."""
    text = (
        "import modal\n\napp = modal.App('x')\nkw = {'gpu': 'H100'}\n"
        f"{line}\n\n\n@app.function(**kw)\ndef train(): ...\n"
    )
    codes = {one.code for one in check_source(parse_source("a.py", text))}
    assert ("MK501" in codes) is found
