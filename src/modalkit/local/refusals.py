"""What to say of an RPC that is not served: its name, and what to do instead."""

from __future__ import annotations

from .protocol import MODAL_VERSION

__all__ = ["not_served"]

_SEEN = (
    "The dashboard shows calls, containers and memory; `modalkit local status` prints its address."
)
_ONE_USER = "A local Modal has one user, you, and needs no tokens or roles."
_FREE = "Nothing that runs here costs anything; Modal bills what runs there."
_SNAPSHOT = (
    "Memory is not snapshotted here: `sandbox.snapshot_filesystem()` keeps a sandbox's files, and a "
    "volume what a function makes."
)
_ONE_MACHINE = "There is one machine here: call it without `clustered`, or on Modal."

# The first that begins an RPC's name, or ends it, tells what to do.
_BEGINNINGS = {
    "Endpoint": "Modal runs its ready-made models itself; deploy a file that declares yours.",
    "WebhookToken": "There is one proxy token here; `modalkit local env` prints it.",
    "AuditLog": "Nothing is recorded of who did what: a local Modal has one user.",
    "ServiceUser": _ONE_USER,
    "Token": _ONE_USER,
    "EnvironmentGetRoles": _ONE_USER,
    "EnvironmentRoleSet": _ONE_USER,
    "WorkspaceBilling": _FREE,
    "EnvironmentBilling": _FREE,
    "WorkspaceSet": "These settings are fixed here; choose an environment with -e or MODAL_ENVIRONMENT.",
    "MetricsGetInfo": _SEEN,
    "FunctionGetMetrics": _SEEN,
    "ServerGetMetrics": _SEEN,
    "FunctionCall": _SEEN,
    "FunctionGetFlashAuthToken": "Sticky sessions are not served: leave @modal.sessioned() out, and send "
    "Modal-Routing-Affinity-Key to stay on one replica.",
    "ServerCountRequests": _SEEN,
    "ServerRequestFetch": _SEEN,
    "SandboxGetStats": _SEEN,
    "ImageTagRevisions": "`modal image names list` shows what each name means now.",
    "Domain": "Endpoints answer at 127.0.0.1 here, whatever their domain on Modal.",
    "Cluster": _ONE_MACHINE,
    "TaskCluster": _ONE_MACHINE,
    "PersistentSandbox": _SNAPSHOT,
    "SandboxRestore": _SNAPSHOT,
    "SandboxSnapshot": _SNAPSHOT,
    "SandboxGetExitSnapshot": _SNAPSHOT,
    "TaskSnapshot": _SNAPSHOT,
    "ContainerCheckpoint": _SNAPSHOT,
    "SandboxContainer": "Sidecars are not made here: start their programs in the sandbox itself.",
    "TaskContainer": "Sidecars are not made here: start their programs in the sandbox itself.",
    "TaskSet": "Choose a sandbox's network when it is created: `block_network=True`, or an allowlist.",
}
_ENDINGS = {"TimeRangeStats": _SEEN}
_OTHERWISE = (
    "What needs it works on Modal itself only; `modalkit local --help` lists what runs here."
)


def not_served(name: str) -> str:
    """Say that an RPC is not served, and what to do instead."""
    remedies = [
        *(remedy for beginning, remedy in _BEGINNINGS.items() if name.startswith(beginning)),
        *(remedy for ending, remedy in _ENDINGS.items() if name.endswith(ending)),
        _OTHERWISE,
    ]
    return f"The local Modal does not serve {name} (modal {MODAL_VERSION}). {remedies[0]}"
