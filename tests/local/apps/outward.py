"""Code that talks to the world from a container with a network of its own."""

import os
import socket
import subprocess
import sys
import urllib.request

import modal

app = modal.App("outward")

SERVER = """
import http.server, os, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = urllib.request.urlopen(os.environ["OUTSIDE"], timeout=30).read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@app.function(
    secrets=[modal.Secret.from_local_environ(["OUTSIDE"])] if "OUTSIDE" in os.environ else []
)
@modal.web_server(8000)
def fetch() -> None:
    subprocess.Popen([sys.executable, "-c", SERVER])


@app.function(block_network=True)
def blocked() -> None:
    try:
        socket.create_connection(("127.0.0.1", 3128), timeout=5)
    except OSError:
        print("no way out")


@app.local_entrypoint()
def main() -> None:
    print("answer:", urllib.request.urlopen(fetch.get_web_url(), timeout=60).read().decode())
