"""MK816, MK817: variables and commands of the hub that have other names now."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..packages import names_its_packages
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import called, outdated

__all__ = ["hub_command", "hub_variable"]

_VARIABLES = {
    "TRANSFORMERS_CACHE": "transformers-cache",
    "HF_HUB_ENABLE_HF_TRANSFER": "hf-transfer",
}
# transformers 4 takes no huggingface_hub of 1 or later, and vLLM took transformers 4 at least until 0.13.
_OLD_HUB = re.compile(
    r"huggingface[-_]hub(\[[^\]]*\])?\s*(==|~=|<=?)\s*0\.|\btransformers(\[[^\]]*\])?\s*(==|~=)\s*4\."
    r"|\bvllm(\[[^\]]*\])?\s*==\s*0\.(\d|1[0-3])\."
)
_COMMAND = re.compile(r"(?<![\w./-])huggingface-cli(?![\w-])")
_ACCOUNT = re.compile(r"(?<![\w./-])huggingface-cli(\s+)(login|logout|whoami)\b")
_GONE_FLAGS = re.compile(
    r"\s+--(resume-download|local-dir-use-symlinks(?:[ =](?:True|False|auto))?)(?![\w-])"
)
_SETS = re.compile(r"\b(TRANSFORMERS_CACHE|HF_HUB_ENABLE_HF_TRANSFER)(?==)")
_RUNS = {
    "run_commands", "dockerfile_commands", "run", "Popen", "check_call", "check_output", "call",
    "system", "exec", "create", "create_subprocess_exec", "create_subprocess_shell",
}  # fmt: skip


def _keeps_old_hub(file: ModalFile) -> bool:
    """Whether the file pins a hub library of before the names changed."""
    return any(
        isinstance(node.value, str) and _OLD_HUB.search(node.value)
        for node in file.nodes.of(ast.Constant)
    )


def _has_other_packages(file: ModalFile) -> bool:
    """Whether which hub library its images have stands in none of them: a base's, or of a list elsewhere."""
    return bool(file.images) and not any(
        names_its_packages(image, file.names) for image in file.images
    )


@rule(
    "MK816",
    "hub-variable",
    "warning",
    why="Current libraries do not read it: weights land elsewhere, or download slowly.",
)
def hub_variable(file: ModalFile) -> Iterator[Problem]:
    """Environment variables that transformers and huggingface_hub no longer read."""
    if _keeps_old_hub(file) or _has_other_packages(file):
        return
    draft = Draft(file)
    for node in file.nodes.of(ast.Constant):
        known = change(_VARIABLES[node.value]) if node.value in _VARIABLES else None
        if known is not None and _names_a_variable(file, node):
            above = file.nodes.parent(node)
            keys = above.keys if isinstance(above, ast.Dict) else []
            both = known.new in {one.value for one in keys if isinstance(one, ast.Constant)}
            text = draft.of(node).replace(str(node.value), known.new or "")
            edits = None if both else [draft.replace(node, text)]
            yield outdated(known, node, "", edits)
        elif isinstance(node.value, str) and _SETS.search(node.value) and _is_run(file, node):
            found = _SETS.search(node.value)
            setting = change(_VARIABLES[found[1]]) if found else None
            if setting is not None:
                edits = _in_text(draft, node)
                yield outdated(setting, node, "", edits)


def _names_a_variable(file: ModalFile, node: ast.Constant) -> bool:
    """Whether a string is a key: of a dict, of ``os.environ``, or of a call that reads or sets one."""
    above = file.nodes.parent(node)
    if isinstance(above, ast.Dict):
        return node in above.keys
    if isinstance(above, ast.Subscript):
        return file.names.qualname(above.value) == "os.environ"
    if isinstance(above, ast.Call) and above.args and above.args[0] is node:
        return file.names.qualname(above.func).startswith(("os.environ.", "os.getenv", "os.putenv"))
    return False


@rule(
    "MK817",
    "huggingface-cli",
    "warning",
    why="The command is gone from huggingface_hub 1 and later.",
)
def hub_command(file: ModalFile) -> Iterator[Problem]:
    """``huggingface-cli`` in a command that is run."""
    if _keeps_old_hub(file):
        return
    draft, known = Draft(file), change("huggingface-cli")
    for node in file.nodes.of(ast.Constant):
        if (
            not isinstance(node.value, str)
            or not _COMMAND.search(node.value)
            or not _is_run(file, node)
        ):
            continue
        alone = node.value.strip() == "huggingface-cli"
        edits = _listed(file, draft, node) if alone else _in_command(draft, node)
        yield outdated(known, node, "", edits)


def _is_run(file: ModalFile, node: ast.Constant) -> bool:
    """Whether a string is an argument of something that runs commands."""
    above: ast.AST = node
    for above in file.nodes.ancestors(node):
        if isinstance(above, ast.Call):
            break
        if isinstance(above, ast.stmt):
            return _assigned_to_run(above)
    if not isinstance(above, ast.Call):
        return False
    name = called(file, above)
    if name.endswith(".format") or name in {"?.join", "?.split", "shlex.split"}:
        return True
    return name.rpartition(".")[2] in _RUNS


def _assigned_to_run(statement: ast.stmt) -> bool:
    """``cmd = [...]``, by the name people give to commands."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return False
    return bool(re.search("cmd|command", statement.targets[0].id, re.IGNORECASE))


def _in_command(draft: Draft, node: ast.Constant) -> list[Edit]:
    text = draft.of(node)
    text = _ACCOUNT.sub(r"hf\1auth \2", text)
    text = _COMMAND.sub("hf", text)
    return [draft.replace(node, _GONE_FLAGS.sub("", text))] if "\\" not in text else []


def _in_text(draft: Draft, node: ast.Constant) -> list[Edit]:
    """The setting inside a command; what stands around it stays."""
    text = _SETS.sub(lambda found: change(_VARIABLES[found[1]]).new or "", draft.of(node))
    return [draft.replace(node, text)]


def _listed(file: ModalFile, draft: Draft, node: ast.Constant) -> list[Edit]:
    """``["huggingface-cli", "download", ...]``."""
    held = file.nodes.parent(node)
    elements = list(getattr(held, "elts", None) or getattr(held, "args", None) or [])
    index = elements.index(node) if node in elements else -1
    follows = elements[index + 1] if 0 <= index < len(elements) - 1 else None
    text = draft.of(node).replace("huggingface-cli", "hf")
    edits = [draft.replace(node, text)]
    if isinstance(follows, ast.Constant) and follows.value in {"login", "logout", "whoami"}:
        edits.append(draft.insert(draft.start(follows), '"auth", '))
    for position, one in enumerate(elements[index + 1 :], start=index + 1):
        if isinstance(one, ast.Constant) and one.value == "--resume-download":
            edits.append(draft.edit(draft.end(elements[position - 1]), draft.end(one), ""))
        if isinstance(one, ast.Constant) and one.value == "--local-dir-use-symlinks":
            last = elements[min(position + 1, len(elements) - 1)]
            edits.append(draft.edit(draft.end(elements[position - 1]), draft.end(last), ""))
    return edits
