"""Each workload by LitServe: one worker process, one API server."""

from __future__ import annotations

import json
import sys

import litserve as ls
from bodies import CHUNKS
from models import MiniLM, Mlp


class Noop(ls.LitAPI):
    def setup(self, device):  # noqa: ARG002 - LitServe's signature
        self.model = None

    def decode_request(self, request):
        return request

    def predict(self, item):
        return item

    def encode_response(self, answer):
        return answer


class One(Noop):
    def setup(self, device):  # noqa: ARG002 - LitServe's signature
        self.model = Mlp()

    def decode_request(self, request):
        return request["features"]

    def predict(self, row):
        return self.model([row])[0]

    def encode_response(self, label):
        return {"label": label}


class Batched(One):
    def batch(self, rows):
        return rows

    def predict(self, rows):
        return self.model(rows)

    def unbatch(self, labels):
        return labels


class Embed(Batched):
    def setup(self, device):  # noqa: ARG002 - LitServe's signature
        self.model = MiniLM()

    def decode_request(self, request):
        return request["text"]

    def encode_response(self, vector):
        return {"vector": vector}


class Stream(Noop):
    def predict(self, item):
        for _ in range(CHUNKS):
            yield item

    def encode_response(self, items):
        for item in items:
            yield "data: " + json.dumps(item) + "\n\n"


if __name__ == "__main__":
    workload, port = sys.argv[1], int(sys.argv[2])
    api = {
        "noop": Noop,
        "one": One,
        "batched": lambda: Batched(max_batch_size=64, batch_timeout=0.005),
        "embed": lambda: Embed(max_batch_size=32, batch_timeout=0.005),
        "stream": lambda: Stream(stream=True),
    }[workload]()
    server = ls.LitServer(api, accelerator="cpu", timeout=60)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
