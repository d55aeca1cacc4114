"""`modal.forward` in a function's container."""

from __future__ import annotations

import asyncio
import ssl

import modal
import pytest

from modalkit.local.wire.certificates import issue
from modalkit.local.wire.trust import Trust


def test_a_forwarded_port_is_reached(function):
    """What is sent to the tunnel's socket arrives at the container's port, again and again."""
    ask = function("tunnels", "ask_through_a_tunnel")
    assert [ask.remote(b"hello"), ask.remote(b"again")] == [b"HELLO", b"AGAIN"]


def test_a_port_is_forwarded_once(function):
    """A second tunnel to the same port is refused, as Modal does."""
    with pytest.raises(modal.exception.InvalidError, match="already forwarded"):
        function("tunnels", "forward_twice").remote()


def test_a_tunnel_has_an_https_address(function):
    """Without ``unencrypted`` the tunnel's URL is one that a container's programs trust."""
    url, page = function("tunnels", "ask_with_tls").remote()
    assert url.startswith("https://localhost:")
    assert page == b"a page"


def test_what_was_trusted_stays_trusted(tmp_path):
    """The file of roots holds those a program named itself, the plane's, and no key."""
    own = tmp_path / "own.pem"
    own.write_bytes(issue().authority)
    trust = Trust(tmp_path / "tls")
    before = trust.variables({"SSL_CERT_FILE": str(own)})
    asyncio.run(trust.server_context())
    after = trust.variables({"SSL_CERT_FILE": str(own)})
    assert before == after
    roots = ssl.create_default_context(cafile=after["SSL_CERT_FILE"])
    assert [root["subject"] for root in roots.get_ca_certs()] == [
        ((("commonName", "modalkit local"),),)
    ] * 2
    for file in (tmp_path / "tls").iterdir():
        assert b"PRIVATE" not in file.read_bytes()


def test_a_plane_may_name_nothing_but_this_machine(tmp_path):
    """Its certificate does not verify for another name, though its authority is trusted."""
    context = asyncio.run(Trust(tmp_path).server_context())
    client = ssl.create_default_context(cafile=str(tmp_path / "trusted.pem"))

    async def meet(name: str) -> None:
        async with await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
        ) as server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=name
            )
            writer.close()

    asyncio.run(meet("localhost"))
    asyncio.run(meet("127.0.0.1"))
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(meet("example.com"))
