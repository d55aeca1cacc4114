"""A class that listens for HTTP itself, in the way that came before ``app.server``."""

import http.server
import os
import threading

import modal
import modal.experimental

app = modal.App("http_classes")


class Answer(http.server.BaseHTTPRequestHandler):
    """Says which container answers."""

    def do_GET(self) -> None:
        body = os.environ["MODAL_TASK_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@app.cls(scaledown_window=2)
@modal.experimental.http_server(port=8000, proxy_regions=["us-east"])
@modal.concurrent(target_inputs=10)
class Files:
    @modal.enter()
    def listen(self) -> None:
        server = http.server.ThreadingHTTPServer(("", 8000), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    @modal.exit()
    def say_goodbye(self) -> None:
        print("it hears of its end")
