"""The root folder of a container: this machine's files, the image's and the container's own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .kernel import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, Kernel

if TYPE_CHECKING:
    from .spec import ContainerSpec

__all__ = ["GRAFTED", "build_root"]

SYSTEM = ("/dev", "/sys")  # devices and the kernel's own: an overlay of them would not work
_COPIED_AT_ONCE = 1 << 30
GRAFTED = "grafted"  # the container's own copies of files added to the machine's folders
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where it is; each container gets its own


def mount_points() -> list[str]:
    """List where the machine's file systems are mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def overlay(kernel: Kernel, lower: str, scratch: Path, target: str) -> None:
    """Mount a writable view of ``lower`` whose changes go to ``scratch``."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    data = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        kernel.mount("overlay", target, "overlay", 0, f"{data},userxattr")
    except OSError:
        kernel.mount("overlay", target, "overlay", 0, data)


def build_root(spec: ContainerSpec, kernel: Kernel) -> str:
    """Put the container's root folder together and return its path."""
    points = mount_points()
    kernel.mount("none", "/", "", MS_REC | MS_PRIVATE)
    memory = Path(spec["scratch"]) / "memory"
    memory.mkdir()
    kernel.mount("tmpfs", str(memory), "tmpfs")
    changes = Path(spec["changes"] or memory / "changes")
    root = changes / "root"  # what the container adds beside the top folders stays here
    root.mkdir(parents=True, exist_ok=True)
    kernel.mount(str(root), str(root), "", MS_BIND)  # pivot_root wants a mount point
    _copy_on_write(points, spec, root, changes / "of", kernel)
    kept = _hold(spec["keep"], root, memory, kernel)
    spec["masks"] += _add_top(spec["lowers"], root)
    for mask in spec["masks"]:
        _own(mask, spec, root, kernel)
    _graft("", spec, root, kernel)
    for held, path in kept:
        image = _layered(spec["lowers"], path)
        kept_changes = changes / "of" / path[1:].replace("/", "%")
        _give_back(held, f"{root}{path}", image, kept_changes, kernel)
    for bind in spec["binds"]:
        target = f"{root}{bind['target']}"
        if "overlay" in bind:
            _stack(bind["source"], bind["overlay"], target, kernel, read_only=bind["read_only"])
        else:
            _bind(bind["source"], target, kernel, read_only=bind["read_only"])
    return str(root)


def _copy_on_write(
    points: list[str], spec: ContainerSpec, root: Path, changes: Path, kernel: Kernel
) -> None:
    """Show the machine's top folders below the image's layers; writes stay in the container."""
    for entry in os.scandir("/"):
        target = root / entry.name
        if entry.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(Path(entry.path).readlink())
        elif entry.path == "/proc":
            _mount_proc(root, kernel)
        elif entry.is_dir():
            target.mkdir(exist_ok=True)
            below = sorted({point for point in points if point.startswith(entry.path + "/")})
            if entry.path in SYSTEM:
                _show_system(entry.path, below, root, kernel)
                continue
            lowers = spec["lowers"] if entry.path not in spec["masks"] else []
            try:
                _show(entry.path, lowers, root, changes, kernel)
            except OSError:
                if not below:
                    raise
                # A user without root may not take a folder apart from what is mounted below it.
                _show_sealed(entry.path, below, root, kernel)
            else:
                _show_mounts(below, root, changes, kernel)


def _show_mounts(points: list[str], root: Path, changes: Path, kernel: Kernel) -> None:
    """Show what is mounted below a folder: folders copy-on-write where possible, the rest sealed.

    What the kernel lets nobody show again (a handle on a namespace, say) is left out.
    """
    for point in points:
        target = f"{root}{point}"
        try:
            overlay(kernel, point, changes / point[1:].replace("/", "%"), target)
        except OSError:
            with contextlib.suppress(OSError):
                kernel.mount(point, target, "", MS_BIND)
                _seal(target, kernel)


def _show_system(path: str, points: list[str], root: Path, kernel: Kernel) -> None:
    """Show the machine's devices, or its kernel's settings; none can be removed or added."""
    _show_sealed(path, [point for point in points if point != "/dev/pts"], root, kernel)
    if SHARED_MEMORY in points:
        kernel.mount("tmpfs", f"{root}{SHARED_MEMORY}", "tmpfs", 0, "mode=1777")


def _show_sealed(path: str, points: list[str], root: Path, kernel: Kernel) -> None:
    """Show a folder with all that is mounted below it, read-only."""
    kernel.mount(path, f"{root}{path}", "", MS_BIND | MS_REC)
    for point in [path, *points]:
        with contextlib.suppress(OSError):  # what this user may not see, it may not change either
            _seal(f"{root}{point}", kernel)


def _seal(target: str, kernel: Kernel) -> None:
    """Make a bound file system read-only; what else it forbids stays forbidden."""
    forbidden = os.statvfs(target).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
    kernel.mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | forbidden)


def _show(path: str, lowers: list[str], root: Path, changes: Path, kernel: Kernel) -> None:
    """Show a folder of the machine's below the image's layers.

    The kernel takes no overlay of folders that lie in one another: what layers that are kept
    somewhere below ``path`` have for it is shown folder by folder.
    """
    image = _layered(lowers, path)
    around = any(lower.startswith(f"{path}/") for lower in lowers)
    shown = [path] if around else [*image, path]
    overlay(kernel, ":".join(shown), changes / path[1:].replace("/", "%"), f"{root}{path}")
    for name in sorted(
        {entry.name for folder in image for entry in os.scandir(folder)} if around else ()
    ):
        below = f"{path}/{name}"
        source = next(place for folder in image if os.path.lexists(place := f"{folder}/{name}"))
        if Path(below).is_dir() and Path(source).is_dir():
            _show(below, lowers, root, changes, kernel)
        elif folders := _layered(lowers, below):
            Path(f"{root}{below}").mkdir(exist_ok=True)
            flat = changes / below[1:].replace("/", "%")
            overlay(kernel, ":".join(folders), flat, f"{root}{below}")
        elif Path(source).is_file():
            _copy(Path(source), Path(f"{root}{below}"))


def _add_top(lowers: list[str], root: Path) -> set[str]:
    """Add the top files of an image's layers; return the top folders that only it has."""
    folders = set()
    for entry in (entry for lower in lowers for entry in os.scandir(lower)):
        target = root / entry.name
        if entry.is_dir(follow_symlinks=False):
            folders |= set() if Path("/", entry.name).exists() else {f"/{entry.name}"}
            continue
        target.unlink(missing_ok=True)
        if entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
        else:
            _copy(Path(entry.path), target)
    return folders


def _copy(source: Path, target: Path) -> None:
    """Copy a file: bound, an empty one would stand in its place when changes are kept."""
    with source.open("rb") as given, target.open("wb") as made:
        while os.sendfile(made.fileno(), given.fileno(), None, _COPIED_AT_ONCE):
            pass
    target.chmod(source.stat().st_mode)


def _layered(lowers: list[str], path: str) -> list[str]:
    """Return the folders that show a path, topmost first."""
    return [f"{lower}{path}" for lower in reversed(lowers) if Path(f"{lower}{path}").is_dir()]


def _hold(paths: list[str], root: Path, memory: Path, kernel: Kernel) -> list[tuple[str, str]]:
    """Keep a handle on paths that a mask is about to cover, through the copy-on-write root."""
    held: list[tuple[str, str]] = []
    for index, path in enumerate(paths):
        place = memory / f"keep{index}"
        place.mkdir()
        kernel.mount(f"{root}{path}", str(place), "", MS_BIND)
        held.append((str(place), path))
    return held


def _give_back(held: str, target: str, image: list[str], changes: Path, kernel: Kernel) -> None:
    """Show what a mask covers at its path again, below what the image's layers changed in it."""
    if image:
        Path(target).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # one too many where the machine's root is an overlay
            overlay(kernel, ":".join([*image, held]), changes, target)
            return
    _bind(held, target, kernel)


def _own(path: str, spec: ContainerSpec, root: Path, kernel: Kernel) -> None:
    """Give the container its own, writable version of a folder, holding only the layer's files."""
    lower = Path(spec["layer"] + path)
    lower.mkdir(parents=True, exist_ok=True)
    Path(f"{root}{path}").mkdir(exist_ok=True)
    changes = Path(spec["changes"] or spec["scratch"]) / "own" / path[1:].replace("/", "%")
    shown = ":".join(_layered([*spec["lowers"], spec["layer"]], path))
    overlay(kernel, shown, changes, f"{root}{path}")


def _graft(path: str, spec: ContainerSpec, root: Path, kernel: Kernel) -> None:
    """Add the layer's files to the machine's folders; one the machine lacks is added whole."""
    for entry in os.scandir(spec["layer"] + path):
        target = f"{path}/{entry.name}"
        if target in spec["masks"]:
            continue
        if not entry.is_dir():
            # The layer's file is the one of every image that has this content: a copy is written to.
            own = Path(spec["changes"] or spec["scratch"], GRAFTED, target[1:].replace("/", "%"))
            own.parent.mkdir(exist_ok=True)
            _copy(Path(entry.path), own)
            _bind(str(own), f"{root}{target}", kernel)
        elif Path(f"{root}{target}").is_dir():
            _graft(target, spec, root, kernel)
        else:
            _own(target, spec, root, kernel)


def _mount_proc(root: Path, kernel: Kernel) -> None:
    (root / "proc").mkdir(exist_ok=True)
    try:
        kernel.mount("proc", f"{root}/proc", "proc")
    except OSError:
        # A container host may mask its /proc, and then forbids a fresh one: the bound one works.
        kernel.mount("/proc", f"{root}/proc", "", MS_BIND | MS_REC)


def _bind(source: str, target: str, kernel: Kernel, *, read_only: bool = False) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        _seal(target, kernel)


def _stack(source: str, options: str, target: str, kernel: Kernel, *, read_only: bool) -> None:
    """Mount a volume's layers, where root may with renames of whole folders."""
    Path(target).mkdir(parents=True, exist_ok=True)
    os.chdir(source)
    flags = MS_RDONLY if read_only else 0
    try:
        renames = "redirect_dir=on,metacopy=off,index=off"
        kernel.mount("overlay", target, "overlay", flags, f"{options},{renames}")
    except OSError:
        kernel.mount("overlay", target, "overlay", flags, f"{options},userxattr")
