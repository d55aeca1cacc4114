"""What outlives a command: one folder with a small database of records, and files beside it.

What lies in it is named in `places.py`. The folder is readable by its owner only, because secrets
live in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ...errors import LocalModalError
from .database import Database
from .places import File, Folder
from .records import Record, Records

__all__ = [
    "Record",
    "Records",
    "State",
    "default_state_folder",
    "living_planes",
    "remove_tree",
]

# A Unix socket's path may have about 100 letters, its file's name included.
_SOCKET_FOLDER_LIMIT = 80


def default_state_folder() -> Path:
    """Return where state lives unless told otherwise: the user's data folder."""
    if chosen := os.environ.get("XDG_DATA_HOME"):
        return Path(chosen) / "modalkit" / "local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "modalkit" / "local"
    return Path.home() / ".local" / "share" / "modalkit" / "local"


class State:
    """The state folder of one plane.

    Args:
        folder: Made when missing, with mode 0700.

    Attributes:
        records: Named things; they outlive the plane.
        ephemeral: Things without a name; they end with the plane.

    Raises:
        LocalModalError: The folder cannot be written, or its records cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        try:
            self._make_folders()
        except OSError as error:
            msg = (
                f"The state folder {str(folder)!r} cannot be used: {str(error.filename)!r} "
                f"cannot be made ({error.strerror}). Name another folder with --state DIR."
            )
            raise LocalModalError(msg) from error
        try:
            self.records = Records(Database(self._whole_records()))
            self.ephemeral = Records(Database(self.run / "ephemeral.db"))
        except LocalModalError:
            _remove_run(self.run)
            raise

    def close(self) -> None:
        """Close the records and remove what only this plane needed."""
        self.records.close()
        self.ephemeral.close()
        _remove_run(self.run)

    def place(self, folder: Folder) -> Path:
        """Return one of its folders, made when missing."""
        path = folder.of(self.folder)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned_runs(self.place(Folder.RUN))
        self.run = Folder.RUN.of(self.folder) / str(os.getpid())
        _remove_run(self.run)
        self.run.mkdir(mode=0o700)
        self.sockets = self.run / "sockets"
        if len(str(self.sockets)) < _SOCKET_FOLDER_LIMIT:
            self.sockets.mkdir()
        else:
            short = Path(tempfile.mkdtemp(prefix="modalkit-"))
            self.sockets.symlink_to(short)
            self.sockets = short
        self.files = self.place(Folder.FILES)
        self.layers = self.place(Folder.LAYERS)
        self.volumes = self.place(Folder.VOLUMES)
        self.buckets = self.place(Folder.BUCKETS)
        self.blobs = self.run / "blobs"
        self.blobs.mkdir()

    def _whole_records(self) -> Path:
        """Return where the records are, unless they were cut off: SQLite would start afresh."""
        path = File.RECORDS.of(self.folder)
        emptied = path.exists() and not path.stat().st_size
        if emptied and any(self.volumes.iterdir()):
            msg = (
                f"The local Modal's records in {str(path)!r} are empty, though volumes lie beside "
                "them. Put that file back, or move it away to start afresh."
            )
            raise LocalModalError(msg)
        return path


def living_planes(folder: Path) -> list[int]:
    """Return the process ids of the planes that use a state folder now."""
    runs = Folder.RUN.of(folder)
    names = [run.name for run in runs.iterdir()] if runs.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and _is_alive(int(name)))


def _remove_abandoned_runs(runs: Path) -> None:
    """Clean up after planes that were killed."""
    for run in runs.iterdir():
        if run.name.isdecimal() and not _is_alive(int(run.name)):
            _remove_run(run)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    return True


def _remove_run(run: Path) -> None:
    sockets = run / "sockets"
    if sockets.is_symlink():
        remove_tree(sockets.readlink())
    remove_tree(run)


def remove_tree(path: Path) -> None:
    """Remove a folder, with the unreadable work folder an overlay mount leaves behind."""
    for root, folders, _files in os.walk(path):
        for name in folders:
            with contextlib.suppress(OSError):
                (Path(root) / name).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
