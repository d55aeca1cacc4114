"""Prices of an account, through the real modal client and a server that answers two questions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from modal_proto import api_pb2

SHOP = Path(__file__).parent / "apps" / "shop.py"
COMMAND = "from modalkit.cli import main; main()"
RATES = {"gpu_hour_cost_h100": "3.00", "gpu_hour_cost_l40s": "1.95", "cpu_hour_cost": "0.0473"}


class StandInAccount:
    """Stands in for Modal: it knows a workspace and its rates, and nothing else."""

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        return {
            "/modal.client.ModalClient/ClientHello": Handler(
                self.hello, Cardinality.UNARY_UNARY, Empty, api_pb2.ClientHelloResponse
            ),
            "/modal.client.ModalClient/WorkspaceNameLookup": Handler(
                self.lookup, Cardinality.UNARY_UNARY, Empty, api_pb2.WorkspaceNameLookupResponse
            ),
            "/modal.client.ModalClient/WorkspaceBillingRates": Handler(
                self.rates,
                Cardinality.UNARY_UNARY,
                api_pb2.WorkspaceBillingRatesRequest,
                api_pb2.WorkspaceBillingRatesResponse,
            ),
        }

    async def hello(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.ClientHelloResponse())

    async def lookup(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        await stream.send_message(
            api_pb2.WorkspaceNameLookupResponse(workspace_name="shop", username="shop")
        )

    async def rates(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.WorkspaceBillingRatesResponse(rates=RATES))


@pytest.fixture
def account() -> Iterator[str]:
    """The address of a server that answers as an account's would."""
    loop = asyncio.new_event_loop()

    async def start() -> tuple[Server, int]:
        server = Server([StandInAccount()])
        await server.start("127.0.0.1", 0)
        assert server._server is not None
        return server, server._server.sockets[0].getsockname()[1]

    server, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_live_prices_are_the_accounts(account, tmp_path):
    """``--live`` prices with the account's rates, dates them, and names what differs from the list."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "plan", f"{SHOP}::Chat", "--live"],
        env={
            **os.environ,
            "MODAL_SERVER_URL": account,
            "MODAL_TOKEN_ID": "ak-test",
            "MODAL_TOKEN_SECRET": "as-test",
            "MODAL_CONFIG_PATH": str(tmp_path / "none.toml"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "gpu_hour_cost_h100 is $3.00 for this account; the list of 20" in done.stdout
    assert "gpu_hour_cost_l40s" not in done.stdout
    assert "$1.96 to $3.01" in done.stdout
    assert "the account's rates, 20" in done.stdout.rstrip().splitlines()[-1]
