"""The pages of what is kept: volumes with their files; dicts, queues and secrets by name."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote

from grpclib.exceptions import GRPCError

from ..protocol import api
from ..store.records import Record
from ..wording import sized
from .markup import Markup, el, joined
from .parts import card, empty, since, table
from .sources import Sources

__all__ = ["is_plain", "storage_page", "volume_page"]

_FOLDER, _FILE = api.FileEntry.FileType.DIRECTORY, api.FileEntry.FileType.FILE


def storage_page(sources: Sources) -> Markup:
    """List volumes, dicts, queues and secrets; a secret's values are never shown."""
    volumes = table(
        ("Volume", "Environment", "Created"),
        [
            [
                el("a", one.name, href=f"/volumes/{one.id}", class_="name"),
                one.environment,
                since(one.created_at),
            ]
            for one in sources.named("volume")
        ],
        empty("No volume yet. Try", "modal volume create NAME"),
    )
    others = [
        card(title, _names(sources.named(kind), kind), live=kind)
        for kind, title in (("dict", "Dicts"), ("queue", "Queues"), ("secret", "Secrets"))
    ]
    return joined(
        [
            el(
                "header",
                el("h1", "Storage"),
                el("span", str(sources.state), class_="mono sub"),
                class_="page",
            ),
            card("Volumes", volumes, live="volumes"),
            el("div", *others, class_="two"),
        ]
    )


def _names(records: list[Record], kind: str) -> Markup:
    rows = [
        [el("span", one.name, class_="name"), one.environment, since(one.created_at)]
        for one in records
    ]
    return table(("Name", "Environment", "Created"), rows, empty(f"No {kind} yet."))


def volume_page(sources: Sources, volume_id: str, path: str) -> Markup:
    """Show one folder of a volume, as it is committed."""
    name = sources.volumes.metadata(volume_id).name or volume_id
    entries = sorted(
        sources.volumes.entries(volume_id, path),
        key=lambda entry: (entry.type != _FOLDER, entry.path),
    )
    rows = [
        [
            _link(volume_id, entry),
            sized(entry.size) if entry.type == _FILE else "-",
            since(entry.mtime),
        ]
        for entry in entries
    ]
    files = table(("Name", "Size#", "Changed"), rows, empty("This folder is empty."))
    return joined(
        [
            el("header", _crumbs(volume_id, name, path), el("h1", name), class_="page"),
            card("Files", files, about="as committed", live="files"),
        ]
    )


def is_plain(sources: Sources, volume_id: str, path: str) -> bool:
    """Return whether a path of a volume is a file that is reached without a link."""
    try:
        for part in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
            found = sources.volumes.existing(volume_id, str(part))
            if found.is_symlink():
                return False
        return found.is_file()
    except (GRPCError, OSError):
        return False


def _link(volume_id: str, entry: api.FileEntry) -> Markup:
    path = PurePosixPath(entry.path)
    if entry.type == _FOLDER:
        return el(
            "a",
            f"{path.name}/",
            href=f"/volumes/{volume_id}?path={quote(entry.path)}",
            class_="name",
        )
    if entry.type == _FILE:
        place = f"/volumes/{volume_id}/download?path={quote(entry.path)}"
        return el("a", path.name, href=place, class_="name", download=path.name)
    return el("span", path.name, " (link)", class_="sub")


def _crumbs(volume_id: str, name: str, path: str) -> Markup:
    steps = [
        el("a", "Storage", href="/storage"),
        " / ",
        el("a", name, href=f"/volumes/{volume_id}"),
    ]
    inner = PurePosixPath(path.strip("/"))
    for part in (*reversed(inner.parents), inner):
        if part.name:
            steps += [
                " / ",
                el("a", part.name, href=f"/volumes/{volume_id}?path={quote(str(part))}"),
            ]
    return el("span", *steps, class_="crumb")
