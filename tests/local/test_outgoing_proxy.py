"""The way out of a container, on a machine that has a proxy of its own."""

from __future__ import annotations

import asyncio
import socket

import pytest

from modalkit.local.wire.allowlist import AllowList
from modalkit.local.wire.outgoing_proxy import OutgoingProxy

GOOD = AllowList.of([], ["good.org"])
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def exchanged(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, *, answer: bytes = ANSWER
) -> tuple[bytes, bytes]:
    """Send bytes to the way out; return what came back and what the machine's proxy was sent.

    The machine's proxy answers the first head and, as one that keeps its connection, reads on.
    """
    heard = bytearray()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        while data := await reader.read(4096):
            heard.extend(data)
        writer.close()

    async def run() -> bytes:
        server = await asyncio.start_server(upstream, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{port}")
        monkeypatch.setenv("https_proxy", f"http://ann:secret@127.0.0.1:{port}")
        sock = socket.create_server(("127.0.0.1", 0))
        async with server, OutgoingProxy(GOOD).serving(sock):
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(sent)
            writer.write_eof()
            async with asyncio.timeout(60):
                came = await reader.read()
            writer.close()
        return came

    return asyncio.run(run()), bytes(heard)


def test_a_second_request_does_not_reach_the_machines_proxy(monkeypatch):
    """One request a connection: what follows an allowed one is not sent on, unchecked, after it."""
    first = b"GET http://good.org/a?b HTTP/1.1\r\nHost: evil.org\r\nX-Mine: 1\r\n\r\n"
    second = b"GET http://evil.org/secret HTTP/1.1\r\nHost: evil.org\r\n\r\n"
    came, heard = exchanged(first + second, monkeypatch)
    assert came == ANSWER
    lines = heard.decode().split("\r\n")
    assert lines[:3] == ["GET http://good.org:80/a?b HTTP/1.1", "Host: good.org", "x-mine: 1"]
    assert lines[3].startswith("Proxy-Authorization: Basic ")
    assert lines[4:] == ["Connection: close", "", ""]


@pytest.mark.parametrize(
    ("framing", "body", "reached"),
    [
        ("Content-Length: 5", b"12345", b"12345"),
        ("Transfer-Encoding: chunked", b"5\r\n12345\r\n0\r\n\r\n", b"5\r\n12345\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            b"5\r\n12345\r\n0\r\nA: 1\r\n\n",
            b"5\r\n12345\r\n0\r\n\r\n",
        ),
    ],
)
def test_exactly_a_requests_body_is_sent_on(monkeypatch, framing, body, reached):
    """A body of either framing comes whole; what another server could read as its end does not."""
    head = f"POST http://good.org/ HTTP/1.1\r\nHost: good.org\r\n{framing}\r\n\r\n".encode()
    _, heard = exchanged(head + body + b"GET http://evil.org/ HTTP/1.1\r\n\r\n", monkeypatch)
    assert heard.partition(b"\r\n\r\n")[2] == reached


def test_a_head_that_can_be_read_in_two_ways_is_refused(monkeypatch):
    """A second request behind bare line feeds, which some proxies take, is not sent on."""
    hidden = b"GET http://good.org/ HTTP/1.1\nHost: a\n\nGET http://evil.org/ HTTP/1.1\r\n\r\n"
    came, heard = exchanged(hidden, monkeypatch)
    assert came.startswith(b"HTTP/1.1 400 ")
    assert heard == b""


def test_a_tunnel_that_the_machines_proxy_refuses_leads_nowhere(monkeypatch):
    """Its answer is told; the connection on which it would take another request is closed."""
    wanted = b"CONNECT good.org:80 HTTP/1.1\r\nHost: good.org:80\r\n\r\n"
    refusal = b"HTTP/1.1 403 No tunnels\r\nContent-Length: 0\r\n\r\n"
    second = b"GET http://evil.org/secret HTTP/1.1\r\nHost: evil.org\r\n\r\n"
    came, heard = exchanged(wanted + second, monkeypatch, answer=refusal)
    assert came.startswith(b"HTTP/1.1 502 ")
    assert b"refused 'good.org:80': 'HTTP/1.1 403 No tunnels'" in came
    assert b"evil" not in heard


def test_a_tunnel_through_the_machines_proxy_carries_both_ways(monkeypatch):
    """What follows the proxy's consent goes through as it is, in both directions."""
    wanted = b"CONNECT good.org:443 HTTP/1.1\r\nHost: good.org:443\r\n\r\n"
    consent = b"HTTP/1.1 200 OK\r\n\r\nfrom the server"
    came, heard = exchanged(wanted + b"from the program", monkeypatch, answer=consent)
    assert came.endswith(b"\r\n\r\nfrom the server")
    assert heard.startswith(b"CONNECT good.org:443 HTTP/1.1\r\nHost: good.org:443\r\nProxy-Auth")
    assert heard.endswith(b"\r\n\r\nfrom the program")
