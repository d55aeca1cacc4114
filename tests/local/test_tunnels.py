"""`modal.forward` in a function's container."""

from __future__ import annotations

import modal
import pytest


def test_a_forwarded_port_is_reached(function):
    """What is sent to the tunnel's socket arrives at the container's port, again and again."""
    ask = function("tunnels", "ask_through_a_tunnel")
    assert [ask.remote(b"hello"), ask.remote(b"again")] == [b"HELLO", b"AGAIN"]


def test_a_port_is_forwarded_once(function):
    """A second tunnel to the same port is refused, as Modal does."""
    with pytest.raises(modal.exception.InvalidError, match="already forwarded"):
        function("tunnels", "forward_twice").remote()


def test_a_tunnel_with_tls_is_refused(function):
    """The error names what to write instead."""
    with pytest.raises(modal.exception.UnimplementedError, match="unencrypted=True"):
        function("tunnels", "forward_with_tls").remote()
