"""One volume in one container: what it shows, and how it is committed and reloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from grpclib.const import Status

from ..processes.launch import Bind
from ..protocol import refuse
from .changes import relative
from .exchange import FilesOpenError, detached
from .generations import Generations, Lease
from .stacks import find
from .uppers import Manifest, Shipment, changed

__all__ = ["VolumeMount"]


@dataclass
class VolumeMount:
    """One volume in one container. Its methods block and may be called from any thread.

    Attributes:
        volume: What is mounted.
        target: The path in the container.
        sub_path: The folder of the volume that is shown there.
        read_only: Whether writes fail.
        lease: What the container sees.
        shipped: What it changed and has committed, while it keeps the same mount.
    """

    volume: Generations
    target: str
    sub_path: str
    read_only: bool
    lease: Lease
    shipped: Manifest = field(default_factory=dict)

    @classmethod
    def open(
        cls, volume: Generations, target: str, sub_path: str, *, read_only: bool
    ) -> VolumeMount:
        """Hold the committed state for a container that is about to start."""
        path = relative(sub_path)
        with volume.locked():
            if path and not find(volume.stack(), path):
                with volume.new_layer() as layer:
                    (layer / path).mkdir(parents=True)
            lease = volume.lease(path, writable=not read_only)
        return cls(volume, target, path, read_only, lease)

    def bind(self) -> Bind:
        """Say what the launcher has to mount."""
        return Bind(
            source=str(self.volume.folder),
            target=self.target,
            read_only=self.read_only,
            overlay=self.lease.options,
        )

    def close(self) -> None:
        """Let go of what it showed; what the container did not commit is lost."""
        if self.volume.folder.is_dir():
            with self.volume.locked():
                self.volume.release(self.lease)
            self.volume.remove_deleted()

    def commit(self, namespace_pid: int) -> None:
        """Make the container's changes part of the committed state.

        The container sees others' commits afterwards, unless it has files open.

        Args:
            namespace_pid: A process that sees the container's mounts.
        """
        with self._committing():
            if not self._changed():
                return
            try:
                self._exchange(namespace_pid)
            except FilesOpenError:
                self.shipped = self._ship(copy=True)

    def commit_ended(self) -> None:
        """Make the changes of a container that has ended part of the committed state."""
        with self._committing():
            if self._changed():
                self.shipped = self._ship(copy=False)

    def reload(self, namespace_pid: int) -> None:
        """Show the committed state, after committing the container's own changes.

        Refused while the container has files open below the mount.
        """
        with self._committing():
            try:
                self._exchange(namespace_pid)
            except FilesOpenError as error:
                refuse(
                    Status.FAILED_PRECONDITION,
                    f"there are open files preventing the operation: {error}",
                )

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Lock the volume; a full disk, for one, becomes an error that the program sees."""
        try:
            with self.volume.locked():
                yield
        except OSError as error:
            refuse(
                Status.FAILED_PRECONDITION,
                f"The volume at {self.target!r} could not be committed: {error.strerror}. What was "
                "committed before is unchanged, and the container keeps what it wrote.",
            )

    def _exchange(self, namespace_pid: int) -> None:
        """Commit what changed and mount the committed state in the container."""
        folder, old = self.volume.folder, self.lease
        with detached(namespace_pid, self.target, folder, read_only=self.read_only) as attach:
            try:
                if self._changed():
                    self._ship(copy=False)
                new = self.volume.lease(self.sub_path, writable=not self.read_only)
            except OSError:
                attach(old.options)
                raise
            attach(new.options)
        self.lease, self.shipped = new, {}
        self.volume.release(old)

    def _changed(self) -> bool:
        return not self.read_only and (bool(self.shipped) or changed(self.lease.upper))

    def _ship(self, *, copy: bool) -> Manifest:
        """Commit the upper folder; return everything in it."""
        with self.volume.new_layer() as layer:
            root = layer / self.sub_path
            shipment = Shipment(self.lease.upper, self.lease.stack, root, self.shipped, copy)
            shipment.pack()
        return shipment.found
