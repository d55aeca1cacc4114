"""Functions that forward ports of their containers."""

import socket
import threading

import modal

app = modal.App("tunnels")


def answer_once(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.sendall(connection.recv(100).upper())


@app.function()
def ask_through_a_tunnel(text: bytes) -> bytes:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_once, args=(listener,)).start()
        port = listener.getsockname()[1]
        with modal.forward(port, unencrypted=True) as tunnel:
            assert tunnel.tcp_socket[1] != port
            with socket.create_connection(tunnel.tcp_socket) as asking:
                asking.sendall(text)
                return asking.recv(100)


@app.function()
def forward_twice() -> None:
    with modal.forward(8123, unencrypted=True), modal.forward(8123, unencrypted=True):
        pass


@app.function()
def forward_with_tls() -> None:
    with modal.forward(8123):
        pass
