"""Objects that were kept on an app, read by each of its old names."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.check.findings import Finding
from modalkit.check.fixing import Fixed, fix_paths, fix_text
from modalkit.check.settings import Settings

HEAD = "import modal\n\nstub = modal.App('x')\n"
OLD_CODE = Settings(static=True, select=("MK8",))


def fixed(text: str) -> Fixed:
    return fix_text("p.py", text, OLD_CODE)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [one.code for one in findings]


@pytest.mark.parametrize("read", ["stub", "stub.app", "modal.container_app"])
def test_an_object_is_a_variable_however_it_is_read(read: str) -> None:
    """The app, the app of the app, and the app that runs are one app."""
    kept = "stub.data = modal.Dict.from_name('d')\n\n\ndef use():\n"
    done = fixed(f"{HEAD}{kept}    {read}.data['a'] = 1\n    {read}['data'].pop('a')\n")
    assert done.text.endswith("def use():\n    data['a'] = 1\n    data.pop('a')\n")
    assert codes(done.left) == []


def test_what_another_file_keeps_is_reported_alone() -> None:
    """An object that this file gives to no app stays where it is read, with what to write."""
    text = f"{HEAD}\n\ndef use():\n    return modal.container_app.data.get('a')\n"
    done = fixed(text)
    assert done.text == text
    assert codes(done.left) == ["MK814"]


def test_a_function_of_the_app_that_runs_is_called_by_its_name() -> None:
    """`container_app.f` is `f`, unless something else is called so where it stands."""
    functions = "\n\n@stub.function()\ndef f(): ...\n\n\n"
    done = fixed(f"{HEAD}{functions}def use():\n    return modal.container_app.f.remote()\n")
    assert done.text.endswith("    return f.remote()\n")
    hidden = f"{HEAD}{functions}def use(f):\n    return modal.container_app.f.remote(f)\n"
    assert fixed(hidden).text == hidden


def test_two_apps_keep_their_own_objects() -> None:
    """Objects of one name become two variables, and each use keeps its own."""
    kept = "stub.d = modal.Dict.from_name('a')\nother.d = modal.Dict.from_name('b')\n"
    done = fixed(f"{HEAD}other = modal.App('y')\n{kept}print(stub.d, other.d)\n")
    assert "\nd = modal.Dict.from_name('a')\napp_d = modal.Dict.from_name('b')\n" in done.text
    assert done.text.endswith("print(d, app_d)\n")


def test_an_object_under_a_computed_name_is_found() -> None:
    """`stub[name] = ...` fails on the current Modal, and has no rewrite; a dict of one's own is none."""
    loop = "for name in ('a', 'b'):\n    {}[name] = modal.Function.from_name(name, 'f')\n"
    assert codes(fixed(HEAD + loop.format("stub")).left) == ["MK815"]
    assert codes(fixed(f"{HEAD}kept = {{}}\n" + loop.format("kept")).left) == []


def test_an_attribute_that_another_file_reads_stays(tmp_path: Path) -> None:
    """A file beside this one finds the object where it was; an item is not there any more."""
    shared, work = tmp_path / "shared.py", tmp_path / "work.py"
    shared.write_text(f"{HEAD}stub.data = modal.Dict.from_name('d')\n")
    work.write_text("import modal\nfrom shared import stub\n\nprint(stub.data)\n")
    before = shared.read_text()
    assert fix_paths([str(tmp_path)], OLD_CODE) == {}
    assert shared.read_text() == before
    work.unlink()
    assert list(fix_paths([str(tmp_path)], OLD_CODE)) == [str(shared)]


@pytest.mark.parametrize(
    ("reads", "stays"),
    [
        ("from shared import app\n\nprint(app.data)\n", True),
        ("from shared import (\n    app,\n)\n\nprint(app.data)\n", True),
        ("import shared\n\nprint(shared.app.data)\n", True),
        ("import shared as s\n\nprint(s.app.data)\n", True),
        ("from other import app\n\nprint(app.data)\n", False),
        ("from shared import name\n\nprint(name)\n", False),
    ],
)
def test_an_app_is_taken_by_the_name_it_has(tmp_path: Path, reads: str, stays: bool) -> None:
    """Whatever the app is called, and however another file imports it, what is read there stays."""
    shared = tmp_path / "shared.py"
    shared.write_text(
        "import modal\n\napp = modal.App('x')\napp.data = modal.Dict.from_name('d')\n"
    )
    (tmp_path / "work.py").write_text(reads)
    fix_paths([str(tmp_path)], OLD_CODE)
    assert ("app.data = " in shared.read_text()) is stays


def test_a_looked_up_function_that_is_called_runs_in_its_container() -> None:
    """It has no code here, so it can not have run here."""
    done = fixed(f"{HEAD}push = modal.Function.from_name('a', 'push')\npush(1)\n")
    assert done.text.endswith("\npush.remote(1)\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("await push(3)", "await push.remote.aio(3)"),
        ("print(push(3))", "print(push.remote(3))"),
        ("await M().ask(3)", "await M().ask.remote.aio(3)"),
        ("[one async for one in M().tell(3)]", "[one async for one in M().tell.remote_gen.aio(3)]"),
    ],
)
def test_a_call_that_is_awaited_can_be(old: str, new: str) -> None:
    """`.remote` answers the result itself, which nobody can await; `.remote.aio` is awaited."""
    made = "push = modal.Function.from_name('a', 'push')\n\n\n@stub.cls()\nclass M:\n"
    methods = (
        "    @modal.method()\n    async def ask(self, n): ...\n\n"
        "    @modal.method()\n    async def tell(self, n):\n        yield n\n\n\n"
    )
    done = fixed(f"{HEAD}{made}{methods}async def use():\n    {old}\n")
    assert done.text.endswith(f"async def use():\n    {new}\n")


@pytest.mark.parametrize("given", ['"/data", local_dir="d"', 'local_dir="d", remote_dir="/data"'])
def test_a_mount_by_its_constructor_is_a_layer(given: str) -> None:
    """The first methods of mounts came later than mounts."""
    done = fixed(f"{HEAD}\n\n@stub.function(mounts=[modal.Mount({given})])\ndef f(): ...\n")
    assert '.add_local_dir("d", remote_path="/data")' in done.text


def test_the_comment_of_an_option_goes_with_it() -> None:
    """Why inputs run together is said behind the decorator that says so now."""
    options = "    gpu='T4',  # small\n    allow_concurrent_inputs=4,  # thread-safe\n"
    done = fixed(f"{HEAD}\n\n@stub.function(\n{options})\ndef f(): ...\n")
    assert "@modal.concurrent(max_inputs=4)  # thread-safe\n" in done.text
    assert "gpu='T4',  # small\n" in done.text


POSTPONED = "from __future__ import annotations\n\nimport modal\n{}\nstub = modal.App('x')\n\n\n"
CLASS = "@stub.cls()\nclass M:\n    def __init__(self, n: int):\n        self.n = n\n\n"


@pytest.mark.parametrize(
    ("imported", "annotation", "possible"),
    [
        ("from pathlib import Path", "Path | None", True),
        ("", "list[str]", True),
        ("", "M", False),
        ("", "int | None", True),
        ("", "callable | None", False),
        ("class Foo: ...", "Foo | None", True),
        ("class Foo: ...", '"Foo" | None', False),
        ("class Foo: ...", "Foo[int]", False),
        ("from queue import Queue", "Queue[int] | None", True),
        ("import numpy as np", "np.ndarray | None", True),
        ("import numpy as np", "np.array | None", False),
        ("import PIL", "PIL.Image.Image", False),
        ("import PIL.Image", "PIL.Image.Image", True),
        ("import PIL\nfrom PIL.Image import new", "PIL.Image.Image | None", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy", "numpy", False),
    ],
)
def test_a_parameter_has_a_type_and_no_text(imported: str, annotation: str, possible: bool) -> None:
    """Modal reads annotations as they are, so they are evaluated where every one of them can be."""
    text = f"{POSTPONED.format(imported)}{CLASS}    def f(self, x: {annotation}): ...\n"
    done = fixed(text)
    assert ("n: int = modal.parameter()" in done.text) is possible
    assert ("__future__" not in done.text) is possible
    assert codes(done.left) == ([] if possible else ["MK811"])


BASE = """

class Base:
    def {}(self):
        self.n = 1


@stub.cls()
class M(Base): ...
"""


@pytest.mark.parametrize(("method", "found"), [("__init__", ["MK811"]), ("load", [])])
def test_a_constructor_of_a_base_class_is_one_too(method: str, found: list[str]) -> None:
    """Modal refuses it as it refuses the class's own; other methods of a base are welcome."""
    done = fixed(HEAD + BASE.format(method))
    assert codes(done.left) == found
    assert all(one.source_line == "class M(Base): ..." for one in done.left)
