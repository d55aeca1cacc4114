"""MK806: mounts, which became layers of images."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .keywords import Keyword, keywords, removed
from .mounts import Layers, is_mount, read_mounts
from .old_code import app_calls, outdated
from .spelling import Spelled, spell

__all__ = ["default_image", "mounted_files"]

_TAKES = {
    "modal.App().function",
    "modal.App().cls",
    "modal.Sandbox.create",
    "modal.App().spawn_sandbox",
}
_APPS = {"modal.App", "modal.Stub"}
_OWNERS = {*_TAKES, *_APPS, "modal.Image().run_function"}
_WORDS = "Write image=image.add_local_dir(local_path, remote_path)."
_SHORT = 60  # characters of an expression that may be written twice
_DEEP = 5  # names of names of lists; a name may stand for itself: x = x + y


@rule("MK806", "mounted-files", "error", why="There is no modal.Mount any more.")
def mounted_files(file: ModalFile) -> Iterator[Problem]:
    """Local files taken along by a mount."""
    placed: set[ast.AST] = set()
    for name, call in app_calls(file):
        if name not in _OWNERS:
            continue
        mounts = next((one for one in keywords(file, call) if one.name == "mounts"), None)
        if mounts is None or mounts.key in placed:
            continue
        placed.add(mounts.key)
        if name in _TAKES:
            yield _on_unit(file, call, mounts)
        elif name in _APPS:
            yield _on_app(file, call, mounts)
        else:
            yield _in_build(file, call, mounts)
    yield from _in_images(file)
    yield from _unused(file)


def _on_unit(file: ModalFile, call: ast.Call, mounts: Keyword) -> Problem:
    known, draft = change("mounts"), Draft(file)
    layers = read_mounts(file, mounts.value)
    if layers is None:
        return outdated(known, mounts.key, _WORDS)
    if mounts.is_spread:
        return _shared(file, mounts, layers)
    image = next((one for one in keywords(file, call) if one.name == "image"), None)
    if not layers.text:
        return outdated(
            known, mounts.key, "Nothing: remove it.", draft.remove_argument(call, mounts.key)
        )
    if image is not None:
        words = f"Write image={_after(draft, image.value, layers)}."
        if image.is_spread:
            return outdated(known, mounts.key, words)
        edits = [*draft.remove_argument(call, mounts.key), *_added(draft, image.value, layers)]
        return outdated(known, mounts.key, words, edits, safe=layers.safe)
    base = default_image(file, call)
    if base is None:
        return _on_image_of_app(file, call, mounts, layers)
    text = f"image={base.text}{layers.text}"
    edits = [draft.replace(mounts.key, text), *base.edits]
    return outdated(known, mounts.key, f"Write {text}.", edits, safe=layers.safe)


def _shared(file: ModalFile, mounts: Keyword, layers: Layers) -> Problem:
    """Mounts in a dict of options: the files go onto the image of every call that spreads it."""
    known, draft = change("mounts"), Draft(file)
    images: dict[ast.expr, None] = {}
    for name, call in app_calls(file):
        given = {one.name: one for one in keywords(file, call)} if name in _TAKES else {}
        if "mounts" not in given or given["mounts"].key is not mounts.key:
            continue
        image = given.get("image")
        if image is None or not (image.sure and given["mounts"].sure):
            return outdated(known, mounts.key, _WORDS)
        if not file.names.means_same(mounts.value, image.value):
            return outdated(known, mounts.key, _WORDS)
        images[image.value] = None
    added = {edit: None for one in images for edit in _added(draft, one, layers)}
    without = removed(draft, mounts)
    return outdated(
        known, mounts.key, _WORDS, [*without, *added] if without else None, safe=layers.safe
    )


def _on_image_of_app(file: ModalFile, call: ast.Call, mounts: Keyword, layers: Layers) -> Problem:
    """An image too long to be written twice: every function of the app sees the files then."""
    known, draft = change("mounts"), Draft(file)
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    app = file.names.latest(owner) if isinstance(owner, ast.Name) else None
    given = file.options(app).value("image") if isinstance(app, ast.Call) else None
    words = f"Write image=image{layers.text}."
    if given is None or not file.names.means_same(mounts.value, given):
        return outdated(known, mounts.key, words)
    edits = [*draft.remove_argument(call, mounts.key), *_added(draft, given, layers)]
    return outdated(known, mounts.key, words, edits, safe=False)


def _after(draft: Draft, image: ast.expr, layers: Layers) -> str:
    simple = isinstance(image, ast.Name | ast.Attribute | ast.Call)
    text = draft.of(image) if len(draft.of(image)) < _SHORT else "image"
    return f"{text if simple else f'({text})'}{layers.text}"


def _added(draft: Draft, image: ast.expr, layers: Layers) -> list[Edit]:
    if isinstance(image, ast.Name | ast.Attribute | ast.Call):
        return [draft.insert(draft.end(image), layers.text)]
    return [
        draft.insert(draft.start(image), "("),
        draft.insert(draft.end(image), f"){layers.text}"),
    ]


def default_image(file: ModalFile, call: ast.Call) -> Spelled | None:
    """Return the image that a function without one has: its app's, or Modal's own."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if not isinstance(owner, ast.Name):
        return None
    app = file.names.latest(owner)
    if not isinstance(app, ast.Call) or any(one.arg is None for one in app.keywords):
        return None
    image = next((one.value for one in app.keywords if one.arg == "image"), None)
    if image is None:
        return None if _sets_image(file, owner.id) else _slim(file)
    text = file.source.segment(image)
    short = isinstance(image, ast.Call) and len(text) <= _SHORT and "\n" not in text
    return Spelled(text) if short or isinstance(image, ast.Name) else None


def _slim(file: ModalFile) -> Spelled | None:
    spelled = spell(file, "Image")
    return spelled and Spelled(f"{spelled.text}.debian_slim()", spelled.edits)


def _sets_image(file: ModalFile, app: str) -> bool:
    """``stub.image = ...``, which another rule rewrites first."""
    return any(
        isinstance(target, ast.Attribute)
        and target.attr == "image"
        and isinstance(target.value, ast.Name)
        and target.value.id == app
        for node in file.nodes.of(ast.Assign)
        for target in node.targets
    )


def _on_app(file: ModalFile, call: ast.Call, mounts: Keyword) -> Problem:
    """Mounts of an app are on every image that its functions have."""
    known, draft = change("mounts"), Draft(file)
    layers = read_mounts(file, mounts.value)
    if layers is None:
        return outdated(known, mounts.key, "Add the files to the images, with Image.add_local_dir.")
    own = [
        unit.options.given["image"].value for unit in file.units if "image" in unit.options.given
    ]
    image = next((one.value for one in call.keywords if one.arg == "image"), None)
    if image is not None:
        edits = [*draft.remove_argument(call, mounts.key), *_added(draft, image, layers)]
        words = f"Write image={_after(draft, image, layers)}."
    else:
        base = _slim(file)
        if base is None:
            return outdated(known, mounts.key, f"Write image=image{layers.text}.")
        words = f"Write image={base.text}{layers.text}."
        edits = [draft.replace(mounts.key, words[6:-1]), *base.edits]
    edits += [edit for one in own for edit in _added(draft, one, layers)]
    return outdated(known, mounts.key, words, edits, safe=layers.safe)


def _in_build(file: ModalFile, call: ast.Call, mounts: Keyword) -> Problem:
    known, draft = change("mounts"), Draft(file)
    layers = read_mounts(file, mounts.value)
    copied = layers.copied() if layers is not None else ""
    if layers is None or not copied or not isinstance(call.func, ast.Attribute) or mounts.is_spread:
        words = "Add the files before this step, with Image.add_local_dir(..., copy=True)."
        return outdated(known, mounts.key, words)
    owner = call.func.value
    edits = [draft.insert(draft.end(owner), copied), *draft.remove_argument(call, mounts.key)]
    return outdated(known, mounts.key, f"Write {copied} before this step.", edits, safe=layers.safe)


def _in_images(file: ModalFile) -> Iterator[Problem]:
    """``context_mount=`` and ``Image.copy_mount``."""
    draft = Draft(file)
    for name, call in app_calls(file):
        if name in {"modal.Image().dockerfile_commands", "modal.Image.from_dockerfile"}:
            for keyword in keywords(file, call):
                if keyword.name == "context_mount" and not keyword.is_spread:
                    edits = draft.remove_argument(call, keyword.key)
                    yield outdated(
                        change("context-mount"), keyword.key, "Nothing: remove it.", edits
                    )
        if name == "modal.Image().copy_mount" and isinstance(call.func, ast.Attribute):
            yield _copied(file, draft, call, call.func)


def _copied(file: ModalFile, draft: Draft, call: ast.Call, function: ast.Attribute) -> Problem:
    """A mount that has its files at its root, copied to one place."""
    known = change("copy-mount")
    words = "Write Image.add_local_dir(local_path, remote_path, copy=True)."
    remote = call.args[1] if len(call.args) > 1 else None
    remote = next((one.value for one in call.keywords if one.arg == "remote_path"), remote)
    layers = read_mounts(file, call.args[0]) if call.args else None
    place = file.names.text(remote)
    root = ', remote_path="/")'
    if (
        layers is None
        or place is None
        or not place.startswith("/")
        or not layers.text.endswith(root)
    ):
        return outdated(known, call, words)
    text = layers.text.removesuffix(root) + f', remote_path="{place}", copy=True)'
    edits = [draft.edit(draft.end(function.value), draft.end(call), text)]
    return outdated(known, function, f"Write {text}.", edits)


def _unused(file: ModalFile) -> Iterator[Problem]:
    """A variable that held a mount which is a layer now, and mounts that are used otherwise."""
    draft = Draft(file)
    for node in file.nodes.of(ast.Assign):
        target = node.targets[0]
        single = isinstance(target, ast.Name) and len(node.targets) == 1
        if not single or not _holds_mounts(file, node.value):
            continue
        assert isinstance(target, ast.Name)  # noqa: S101 - told just before
        if not any(one.id == target.id and one is not target for one in file.nodes.of(ast.Name)):
            yield outdated(
                change("mount"), node, "Nothing: remove it.", [draft.remove_statement(node)]
            )


def _holds_mounts(file: ModalFile, node: ast.expr, depth: int = 0) -> bool:
    if depth > _DEEP:
        return False
    if isinstance(node, ast.List | ast.Tuple):
        return bool(node.elts) and all(_holds_mounts(file, one, depth + 1) for one in node.elts)
    if isinstance(node, ast.BinOp):
        return all(_holds_mounts(file, one, depth + 1) for one in (node.left, node.right))
    return is_mount(file, node) or (isinstance(node, ast.Name) and _names_mount(file, node, depth))


def _names_mount(file: ModalFile, node: ast.Name, depth: int) -> bool:
    _, bindings = file.names.bindings(node)
    value = bindings[0].value if len(bindings) == 1 else None
    if value is None or isinstance(value, ast.Name):
        return False
    return _holds_mounts(file, value, depth + 1)
