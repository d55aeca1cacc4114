"""Functions that forward ports of their containers."""

import socket
import threading
import urllib.request

import modal

app = modal.App("tunnels")


def answer_once(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.sendall(connection.recv(100).upper())


def answer_page(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\na page")


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
def ask_with_tls() -> tuple[str, bytes]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_page, args=(listener,)).start()
        with (
            modal.forward(listener.getsockname()[1]) as tunnel,
            urllib.request.urlopen(tunnel.url) as answer,
        ):
            return tunnel.url, answer.read()
