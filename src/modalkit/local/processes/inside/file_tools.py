"""What `Sandbox.filesystem` runs in a sandbox: one operation, given as JSON on the command line.

The forms of operations, answers and errors are those that Modal's client reads. An error is JSON on
standard error and exit code 1.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["run"]

KINDS = {
    errno.ENOENT: "NotFound",
    errno.ENOTDIR: "NotDirectory",
    errno.EISDIR: "IsDirectory",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EROFS: "PermissionDenied",
    errno.ENOTEMPTY: "DirectoryNotEmpty",
}


def read_file(path: str) -> None:
    """Copy a file to standard output."""
    with Path(path).open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def write_file(path: str) -> None:
    """Replace a file by standard input, at once when all of it has come."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
    target = target.resolve()  # a link stays one
    descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~umask()
        Path(partial).chmod(mode)
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def umask() -> int:
    """Return the permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def list_files(path: str) -> None:
    """Describe what is in a folder."""
    print(json.dumps([described(entry) for entry in sorted(Path(path).iterdir())]))  # noqa: T201 - the answer


def stat_path(path: str) -> None:
    """Describe one path; a link itself, not what it leads to."""
    print(json.dumps(described(Path(path))))  # noqa: T201 - the answer


def make_directory(path: str, *, parents: bool) -> None:
    """Make a folder; with ``parents``, also those above it, and one that is there is fine."""
    Path(path).mkdir(parents=parents, exist_ok=parents)


def remove(path: str, *, recursive: bool) -> None:
    """Remove a file, an empty folder, or with ``recursive`` a folder and what is in it."""
    target = Path(path)
    if target.is_symlink() or not target.is_dir():
        target.unlink()
    elif recursive:
        shutil.rmtree(target)
    else:
        target.rmdir()


def described(path: Path) -> dict[str, object]:
    """Return what Modal's ``FileInfo`` holds of a path."""
    status = path.lstat()
    link = stat.S_ISLNK(status.st_mode)
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "symlink" if link else "file"
    return {
        "name": path.name,
        "path": str(path),
        "type": kind,
        "size": status.st_size,
        "mode": stat.S_IMODE(status.st_mode),
        "permissions": stat.filemode(status.st_mode),
        "owner": name_of(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": name_of(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
        "modified_time": status.st_mtime,
        "symlink_target": str(path.readlink()) if link else None,
    }


def name_of(look_up: Callable[[], str], number: int) -> str:
    """Return a user's or group's name, or the number of one without."""
    with contextlib.suppress(KeyError):
        return look_up()
    return str(number)


OPERATIONS: dict[str, Callable[..., None]] = {
    "ReadFile": read_file,
    "WriteFile": write_file,
    "ListFiles": list_files,
    "Stat": stat_path,
    "MakeDirectory": make_directory,
    "Remove": remove,
}


def run(command: str) -> None:
    """Carry out one operation, such as ``{"Stat": {"path": "/tmp"}}``."""
    ((operation, arguments),) = json.loads(command).items()
    if operation not in OPERATIONS:
        stop("NotSupported", f"The local Modal does not serve the file operation {operation!r}")
    try:
        OPERATIONS[operation](**arguments)
    except FileExistsError as error:
        stop("PathAlreadyExists", str(error.strerror))
    except OSError as error:
        stop(KINDS.get(error.errno or 0, "Other"), str(error.strerror))


def stop(kind: str, message: str) -> None:
    """End with an error that Modal's client understands."""
    sys.stderr.write(json.dumps({"error_kind": kind, "message": message}))
    sys.exit(1)


if __name__ == "__main__":
    run(sys.argv[1])
