"""Files that would stop a check: each gives one finding, never a crash or a hang."""

from __future__ import annotations

import codecs
import os

import pytest

from modalkit.check import check_paths
from modalkit.check.files import find_files
from modalkit.check.rule import Rule, Severity
from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import parse_source

MODAL = b"import modal\n"
DEEP = 20_000

HOSTILE = {
    "parentheses": MODAL + b"x = " + b"(" * DEEP + b")" * DEEP,
    "brackets": MODAL + b"x = " + b"[" * 150 + b"]" * 150 + b"\n" + b"y = " + b"[" * DEEP,
    "minus": MODAL + b"x = " + b"-" * DEEP + b"1",
    "not": MODAL + b"x = " + b"not " * DEEP + b"1",
    "lambdas": MODAL + b"x = " + b"lambda: " * DEEP + b"1",
    "indentation": MODAL + b"".join(b" " * n + b"if x:\n" for n in range(300)),
    "null": MODAL + b"x = '\0'\n",
    "not utf-8": MODAL + b"x = '\xff\xfe\xfa'\n",
    "unknown encoding": b"# -*- coding: klingon -*-\n" + MODAL,
    "no text encoding": b"# -*- coding: rot13 -*-\n" + MODAL,
    "python 2": MODAL + b"print 'hello'\n",
    "newer python": MODAL + b"x = t'{1 +}' ??? \n",
    "merge conflict": MODAL + b"<<<<<<< HEAD\nx = 1\n=======\n",
    "binary": MODAL + bytes(range(256)) * 40,
    "10 MB": MODAL + b"x = 1\n" * 1_700_000,
    "utf-16": codecs.BOM_UTF16_LE + "import modal\n".encode("utf-16-le"),
    "unfinished string": MODAL + b"x = '''" + b"a\n" * 1000,
}
# Odd, but Python: nothing to find.
FINE = {
    "empty": b"",
    "only a comment": b"# modal",
    "byte order mark": codecs.BOM_UTF8 + MODAL,
    "latin-1": b"# -*- coding: latin-1 -*-\n" + MODAL + b"x = '\xe9'\n",
    "carriage returns": MODAL.replace(b"\n", b"\r") + b"x = 1\r",
    "form feed": MODAL + b"\x0c\nx = 1\n",
    "no final newline": b"import modal",
    "long sum": MODAL + b"x = " + b"1 + " * 400 + b"1\n",
    "long chain": MODAL + b"x = modal" + b".a()" * 300 + b"\n",
    "odd escapes": MODAL + rb"x = '\d \w'" + b"\n",
    "names of themselves": MODAL + b"a = b\nb = c\nc = a\napp = modal.App(a)\n",
    "image of itself": MODAL + b"i = modal.Image.debian_slim()\n" + b"i = i.env({})\n" * 300,
    "many strings": MODAL + b"x = ['" + b"','".join(b"%x" % n for n in range(20_000)) + b"']\n",
}


def _check(tmp_path, data):
    file = tmp_path / "hostile.py"
    file.write_bytes(data)
    return check_paths([str(file)], Settings(static=True)).findings


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_finding(tmp_path, name):
    """Whatever a file is, it gives one finding with a place."""
    (finding,) = _check(tmp_path, HOSTILE[name])
    assert finding.code in {"MK901", "MK902"}
    assert finding.span.line >= 1


@pytest.mark.parametrize("name", FINE)
def test_an_odd_file_is_read(tmp_path, name):
    """What Python reads is read, and none of the rules fails on it."""
    assert not _check(tmp_path, FINE[name])


@pytest.mark.parametrize("depth", [50, 95, 500, 1000, 2500])
def test_deep_expressions_end(tmp_path, depth):
    """Depths around the limits of the parser and of Python's own stack end in findings or in none."""
    for text in ("1 + " * depth + "1", "x" + ".y" * depth, "x" + "()" * depth, "x" + "[0]" * depth):
        found = _check(tmp_path, MODAL + b"app = modal.App()\nx = app\nz = " + text.encode())
        assert {one.code for one in found} <= {"MK902", "MK990"}


def test_deep_values_of_options_end(tmp_path):
    """Deep values where rules look for constants are left alone, not followed for ever."""
    deep = "'T4' if x else " * 300 + "'L4'"
    text = (
        f"app = modal.App()\n\n\n@app.function(gpu={deep}, timeout={'1 + ' * 300}1)\ndef f(): ...\n"
    )
    assert not [one for one in _check(tmp_path, MODAL + text.encode()) if one.code == "MK990"]


GENERATED = {
    "names that double": "a0 = 'x'\n" + "".join(f"a{n + 1} = a{n} + a{n}\n" for n in range(60)),
    "f-strings that double": "a0 = 'x'\n" + "".join(f"a{n + 1} = f'{{a{n}}}{{a{n}}}'\n" for n in range(60)),
    "numbers that square": "a0 = 7\n" + "".join(f"a{n + 1} = a{n} * a{n}\n" for n in range(60)),
    "names of two names": "".join(f"a{n} = a{n + 1} if x else b{n + 1}\nb{n} = a{n + 1} or b{n + 1}\n" for n in range(60)),
    "lists of lists": "a0 = ['x']\n" + "".join(f"a{n + 1} = [*a{n}, *a{n}, a{n}]\n" for n in range(60)),
    "dicts of dicts": "a0 = {'gpu': 'T4'}\n" + "".join(f"a{n + 1} = {{**a{n}, **a{n}}}\n" for n in range(60)),
    "image upon image": "i = modal.Image.debian_slim()\n" + "i = i.pip_install('a')\n" * 5000,
    "one name, many values": "".join(f"a = a.b{n}(a)\n" for n in range(5000)),
}  # fmt: skip
USES = """
app = modal.App(a0)

@app.function(gpu=a60, image=i, timeout=a60, volumes=a60, secrets=[a60], **a60)
def f():
    subprocess.run(a60)
    return os.environ[a60]
"""


@pytest.mark.parametrize("name", GENERATED)
def test_what_grows_from_line_to_line_ends(tmp_path, name):
    """Names that stand for ever more, as only a program would write them, are followed to an end."""
    found = _check(tmp_path, MODAL + (GENERATED[name] + USES.replace("a60", "a0")).encode())
    found += _check(tmp_path, MODAL + (GENERATED[name] + USES).encode())
    assert "MK990" not in {one.code for one in found}


def test_a_thousand_functions_end(tmp_path):
    """A file with a thousand functions and as many images is checked like any other."""
    one = "@app.function(gpu='T4', image=modal.Image.debian_slim().pip_install('x==1'))\ndef f{0}(a):\n    import os\n    return os.environ['A']\n"
    text = "app = modal.App('x')\n" + "".join(one.format(n) for n in range(1000))
    assert "MK990" not in {one.code for one in _check(tmp_path, MODAL + text.encode())}


def test_a_name_that_no_file_can_have_is_looked_up_nowhere(tmp_path):
    """A module with a name longer than a file system takes is not there, and no rule fails on it."""
    name = "a" * 300
    text = (
        f"import {name}\n\napp = modal.App('x')\n\n\n@app.function()\ndef f():\n    import {name}\n"
    )
    text += f"    return transformers.AutoModel.from_pretrained('./{name}')\n"
    assert "MK990" not in {one.code for one in _check(tmp_path, MODAL + text.encode())}


def test_links_that_go_in_circles_end(tmp_path):
    """A folder that links to itself is searched once, and a broken link is passed over."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "a" / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "a" / "b.py").write_bytes(MODAL)
    report = check_paths([str(tmp_path)])
    assert (report.files, report.findings) == (1, ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_a_finding(tmp_path):
    """A file without permission gives a finding."""
    file = tmp_path / "a.py"
    file.write_bytes(MODAL)
    file.chmod(0)
    assert [one.code for one in check_paths([str(file)]).findings] == ["MK902"]


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    """Only plain files are read; a pipe that is named is a finding."""
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    assert find_files([str(tmp_path)], Settings()) == []
    assert [one.code for one in check_paths([str(pipe)]).findings] == ["MK902"]


def test_a_rule_that_fails_hides_no_other(monkeypatch):
    """A rule that raises is a note with its code, and the others go on."""

    def broken(file):
        msg = "no"
        raise RecursionError(msg)

    def works(file):
        return []

    failing = Rule("MK101", "broken", Severity.ERROR, "Why.", broken)
    fine = Rule("MK102", "works", Severity.ERROR, "Why.", works)
    monkeypatch.setattr("modalkit.check.runner.all_rules", lambda: (failing, fine))
    (finding,) = check_source(parse_source("a.py", "import modal\n"))
    assert (finding.code, finding.severity) == ("MK990", Severity.NOTE)
    assert "MK101 failed" in finding.message
