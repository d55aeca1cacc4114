"""Every fenced block of README.md and docs/ runs; nothing on a page is only for show.

A page gets a folder of its own with links to the checkout's ``examples`` and ``scripts``, so that
it can be followed word by word. The language after the fence says what happens to a block:

``python``
    Written to that folder under the name its first line gives (``# chat.py``), or a numbered one,
    and executed with this interpreter. It may import the page's earlier files.
``console``
    Typed into one bash session per page, in order, with this environment's programs first and an
    endpoint key set. Each line that starts with ``$ `` is a command; the non-empty lines after it
    must occur in what it prints, in that order. ``...`` stands for anything; ``URL`` for an address
    on this machine, which it then also means in later commands. A command that ends in ``&`` goes
    on in the background until the page ends. A command succeeds, unless its lines show an
    ``Error``.
``bash``
    What needs Modal's cloud, a GPU or minutes. Its syntax is checked, and the scripts and examples
    it names exist.
``text``
    Output or a drawing; it is left alone.

Another language, an unnamed fence and code by indentation fail, so that no block escapes.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The pages of the check's rules show files that fail on purpose; tests/check/test_pages.py holds them.
_RULES = ROOT / "docs" / "check"
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent != _RULES),
]
PATIENCE_S = 300  # a deadline against hangs, never a measurement
FENCE = re.compile(r"^\s*(```|~~~)")
MARK = "--- the command has ended with"


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        where: Page and line, for messages.
        name: The file its first line names, or a numbered one.
    """

    where: str
    language: str
    name: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    return [block for block in _every_block(page) if block.language in languages]


def _every_block(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("```"):
            body: list[str] = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner)
            text = "\n".join(body) + "\n"
            named = re.match(r"# ([\w/]+\.py)\n", text)
            name = named[1] if named else f"block_{number}.py"
            yield Block(f"{page.name}:{number}", line[3:], name, text)


def prose(page: Path) -> str:
    """A page without its fenced blocks and code spans."""
    kept, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(re.sub(r"`[^`]*`", "code", line))
    assert not inside, f"{page.name} has a fence that does not end"
    return "\n".join(kept)


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


@pytest.fixture
def folder(page: Path, tmp_path: Path) -> Path:
    """Where a page is followed: its python files, beside links to the checkout."""
    for name in ("examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks(page, "python"):
        file = tmp_path / block.name
        assert not file.exists(), f"{block.where} gives a second block the name {block.name!r}"
        file.write_text(block.text)
    return tmp_path


@every_page
def test_every_block_has_a_language_that_is_run(page):
    """No block escapes: each has a language with a rule, and no code hides in indentation."""
    for block in _every_block(page):
        assert block.language in {"python", "console", "bash", "text"}, block.where
    hidden = [line for line in prose(page).splitlines() if FENCE.match(line) or line[:4] == "    "]
    assert not hidden


@every_page
def test_links_lead_somewhere(page):
    """Relative links name files that exist, and headings that are on them."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page_name(page)} links to {target!r}"
        if anchor:
            assert anchor in _anchors(linked), f"{page_name(page)} links to {target!r}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@every_page
def test_python_blocks_run(page, folder):
    """Every python block runs as a file, offline."""
    for block in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, block.name],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{block.where}\n{done.stdout}{done.stderr}"


@every_page
def test_bash_blocks_could_run(page):
    """Commands for elsewhere are valid bash, and every script and example they name exists."""
    for block in blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for path in re.findall(r"\b(?:scripts|examples|bench)/[\w./-]*\w", block.text):
            assert (ROOT / path).exists(), f"{block.where} names {path!r}"


@pytest.fixture(scope="session")
def _small_chat() -> None:
    """The model that pages and examples serve, made once."""
    subprocess.run(
        [sys.executable, str(ROOT / "examples" / "make_models.py"), "chat"], check=True, cwd=ROOT
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_small_chat")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=page_name)
def test_console_blocks_print_what_they_show(page, folder, tmp_path_factory):
    """Every command of a page works, in order, and prints the lines the page shows."""
    terminal = Terminal(folder, tmp_path_factory.mktemp("data"))
    try:
        for block in blocks(page, "console"):
            for command, expected in _commands(block):
                terminal.follow(block.where, command, expected)
    finally:
        terminal.close()


def _commands(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that must follow."""
    assert block.text.startswith("$ "), f"{block.where} does not begin with a command"
    commands: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif line.strip() not in {"", "..."}:
            commands[-1][1].append(line.strip())
    return commands


class Terminal:
    """One bash session, read line by line."""

    def __init__(self, folder: Path, data: Path) -> None:
        here = Path(sys.executable).parent
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
                "PYTHONUNBUFFERED": "1",
                "MODALKIT_API_KEY": "test-key-of-the-docs",
                "XDG_DATA_HOME": str(data),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._url = ""

    def follow(self, where: str, command: str, expected: list[str]) -> None:
        """Type a command and hold what it prints to the lines a page shows."""
        self._type(re.sub(r"\bURL\b", self._url, command) if self._url else command)
        wanted = list(expected)
        said: list[str] = []
        ended: int | None = None
        deadline = time.monotonic() + PATIENCE_S
        while ended is None or (wanted and command.endswith("&")):
            line = self._next_line(deadline, f"{where} $ {command}\nafter {''.join(said)}")
            if line.startswith(MARK):
                ended = int(line.split()[-1])
                continue
            said.append(line)
            # The line of another process may begin where this one's has not ended.
            for part in re.split(r'(?=\{"log": )', line):
                if wanted and self._matches(wanted[0], part):
                    del wanted[0]
        story = f"{where} $ {command}\n{''.join(said)}"
        assert not wanted, f"{story}\ndid not print, in this order: {wanted}"
        assert ended == 0 or any("Error" in line for line in expected), story

    def close(self) -> None:
        """End the session and what it left in the background."""
        try:
            self._type("kill $(jobs -p) 2>/dev/null; wait; exit")
            self._bash.wait(PATIENCE_S)
        finally:
            if self._bash.poll() is None:
                os.killpg(self._bash.pid, signal.SIGKILL)
                self._bash.wait()

    def _type(self, command: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{MARK} %d\\n' $?\n")
        self._bash.stdin.flush()

    def _read(self) -> None:
        assert self._bash.stdout is not None
        for line in self._bash.stdout:
            self._lines.put(line)

    def _next_line(self, deadline: float, story: str) -> str:
        try:
            return self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
        except queue.Empty:
            pytest.fail(f"{story}\nnothing came for {PATIENCE_S} s")

    def _matches(self, expected: str, line: str) -> bool:
        pattern = re.escape(expected).replace(r"\.\.\.", ".*")
        pattern = re.sub(r"\bURL\b", r"(?P<url>http://127\\.0\\.0\\.1:\\d+)", pattern, count=1)
        found = re.fullmatch(pattern, line.strip())
        if found and "url" in found.groupdict():
            self._url = found["url"]
        return found is not None
