"""What a sandbox's container is made of, and what a sandbox cannot have here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from grpclib.const import Status

from ..processes.launch import ContainerSpec
from ..protocol import api, gives, refuse
from ..wire.allowlist import AllowList
from ..wire.outgoing_proxy import PROXY_PORT, proxy_variables
from .sandbox import Sandbox

if TYPE_CHECKING:
    from ..containers.factory import ContainerFactory
    from ..containers.worlds import World

__all__ = ["as_function", "check", "describe", "outbound"]


def describe(sandbox: Sandbox, world: World, factory: ContainerFactory) -> ContainerSpec:
    """Describe a sandbox's container, whose program is the attendant; tell the sandbox of it."""
    container = sandbox.container
    namespaces = factory.isolation.namespaces
    layer = world.layer
    sandbox.file_tools = factory.isolation.tool("file_tools.py")
    sandbox.workdir = sandbox.definition.workdir or (
        world.workdir if namespaces else str(layer / "root")
    )
    blocked = container.function.definition.block_network
    restricted = blocked or outbound(sandbox.definition) is not None
    own_network = restricted or bool(sandbox.definition.open_ports.ports)
    env = {
        **factory.environment,
        **(proxy_variables() if own_network and namespaces else {}),
        **world.environment("" if namespaces else str(layer)),
        **factory.admission.variables(container.lease),
        "MODAL_SANDBOX_ID": sandbox.id,
        "MODAL_TASK_ID": sandbox.task_id,
    }
    path = env.get("PATH", os.defpath)
    env["PATH"] = os.pathsep.join([str(Path(world.python).parent), path])
    sandbox.variables = {**env, **sandbox.variables}
    spec = factory.isolation.spec(
        container.folder,
        layer,
        factory.isolation.tool("attendant.py"),
        env,
        binds=world.binds,
        own_network=own_network,
        lowers=world.lowers,
        changes=container.folder / "changes" if namespaces else None,  # for snapshots
        keep=world.keep,
    )
    spec["cwd"] = sandbox.workdir
    spec["listen_ports"] = [] if blocked or not spec["own_network"] else [PROXY_PORT]
    return spec


def as_function(definition: api.Sandbox) -> api.Function:
    """Describe what a sandbox's container finds around it as a function's definition does."""
    access = definition.network_access.network_access_type
    return api.Function(
        image_id=definition.image_id,
        mount_ids=definition.mount_ids,
        secret_ids=definition.secret_ids,
        volume_mounts=definition.volume_mounts,
        cloud_bucket_mounts=definition.cloud_bucket_mounts,
        shared_volume_mounts=definition.nfs_mounts,
        resources=definition.resources,
        block_network=definition.block_network or access == api.NetworkAccess.BLOCKED,
    )


def outbound(definition: api.Sandbox) -> AllowList | None:
    """Return where a sandbox may connect to; None when it may anywhere.

    Raises:
        ValueError: A network on its list is none.
    """
    access = definition.network_access
    if access.network_access_type != api.NetworkAccess.ALLOWLIST:
        return None
    return AllowList.of(access.allowed_cidrs, access.allowed_domains)


def check(definition: api.Sandbox, *, namespaces: bool) -> None:
    """Refuse a network that a sandbox would not get here."""
    try:
        restricted = outbound(definition) is not None
    except ValueError as error:
        refuse(Status.INVALID_ARGUMENT, f"outbound_cidr_allowlist: {error}.")
    if gives(definition, "outbound_policy") or gives(definition, "experimental_outbound_policy"):
        refuse(
            Status.UNIMPLEMENTED,
            "The local Modal replaces no headers of what a sandbox sends: leave outbound_policy= out, "
            "and give what runs in it the secret, or a stand-in for the server.",
        )
    if not namespaces and (restricted or as_function(definition).block_network):
        refuse(
            Status.FAILED_PRECONDITION,
            "The network of a sandbox can be restricted only where containers have namespaces, and "
            "they have none here. Leave out block_network= and outbound_..._allowlist= only if what "
            "runs in it may reach this machine's network.",
        )
