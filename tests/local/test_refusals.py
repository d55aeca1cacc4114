"""What is not served, or not allowed, is said at once."""

from __future__ import annotations

import asyncio

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_grpc, api_pb2

from modalkit.local.protocol import every_rpc

NEW_IN_1_6 = {
    "AppGetInfo",
    "FunctionGetById",
    "FunctionGetSchedulingParams",
    "FunctionListVariants",
    "ImageNameDelete",
    "ObjectSuggest",
    "SecretGetInfo",
}


def call(plane, name: str, request, token: str | None):
    """Send one message as a bare client would."""

    async def send():
        port = int(plane.exports["MODAL_SERVER_URL"].rpartition(":")[2])
        async with Channel("127.0.0.1", port) as channel:
            metadata = {"x-modal-token-secret": token} if token else {}
            return await getattr(api_grpc.ModalClientStub(channel), name)(
                request, metadata=metadata
            )

    return asyncio.run(send())


def test_an_rpc_that_is_not_served_is_named(plane):
    """An unserved RPC answers UNIMPLEMENTED with its name."""
    with pytest.raises(GRPCError) as caught:
        call(
            plane,
            "DomainCreate",
            api_pb2.DomainCreateRequest(),
            plane.exports["MODAL_TOKEN_SECRET"],
        )
    assert caught.value.status is Status.UNIMPLEMENTED
    assert "DomainCreate" in caught.value.message


@pytest.mark.parametrize("token", [None, "as-wrong"])
def test_a_stranger_is_refused(plane, token):
    """Without this plane's token nothing is served on its port."""
    with pytest.raises(GRPCError) as caught:
        call(plane, "AppList", api_pb2.AppListRequest(), token)
    assert caught.value.status is Status.UNAUTHENTICATED


def test_a_client_cannot_pass_for_a_container(plane):
    """What only containers may send is refused on the client's port."""
    with pytest.raises(GRPCError) as caught:
        call(
            plane,
            "FunctionGetInputs",
            api_pb2.FunctionGetInputsRequest(),
            plane.exports["MODAL_TOKEN_SECRET"],
        )
    assert caught.value.status is Status.PERMISSION_DENIED


def test_every_served_name_is_an_rpc_of_the_installed_protocol():
    """A decorator that names no RPC would serve nothing; an older client lacks but a few."""
    import importlib
    import pkgutil

    from modalkit.local import rpc
    from modalkit.local.wire.grpc_server import served_by

    names = {name for name, _ in every_rpc().values()}
    modules = [
        importlib.import_module(f"{rpc.__name__}.{m.name}")
        for m in pkgutil.iter_modules(rpc.__path__)
    ]
    served: set[str] = set()
    for module in modules:
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                served |= set(served_by([object.__new__(kind)]))
    assert len(served) > 80
    assert served - names <= NEW_IN_1_6
    assert served <= names or not (NEW_IN_1_6 & names)
