"""Embeddings for a data set: a server in the container, many inputs at once, results to a Volume."""

import json
import os
import socket
import subprocess

import modal

GPU_CONFIG = "A10G"
MODEL_ID = "BAAI/bge-base-en-v1.5"
BATCH_SIZE = 32
DOCKER_IMAGE = "ghcr.io/huggingface/text-embeddings-inference:86-1.8"

data_volume = modal.Volume.from_name("tei-data", create_if_missing=True)

LAUNCH_FLAGS = ["--model-id", MODEL_ID, "--port", "8000"]


def spawn_server() -> subprocess.Popen:
    process = subprocess.Popen(["text-embeddings-router", *LAUNCH_FLAGS])
    while True:
        try:
            socket.create_connection(("127.0.0.1", 8000), timeout=1).close()
            return process
        except (TimeoutError, ConnectionRefusedError):
            retcode = process.poll()
            if retcode is not None:
                raise RuntimeError(f"launcher exited unexpectedly with code {retcode}")


def download_model():
    spawn_server().terminate()


app = modal.App("example-amazon-embeddings")

tei_image = (
    modal.Image.from_registry(DOCKER_IMAGE, add_python="3.11")
    .entrypoint([])
    .run_function(download_model, gpu=GPU_CONFIG)
    .uv_pip_install("httpx==0.28.1")
)

with tei_image.imports():
    from httpx import AsyncClient


@app.cls(gpu=GPU_CONFIG, image=tei_image, max_containers=20)
@modal.concurrent(max_inputs=10)
class TextEmbeddingsInference:
    @modal.enter()
    def setup_server(self):
        self.process = spawn_server()
        self.client = AsyncClient(base_url="http://127.0.0.1:8000")

    @modal.exit()
    def teardown_server(self):
        self.process.terminate()

    @modal.method()
    async def embed(self, inputs_with_ids: list[tuple[int, str]]):
        ids, inputs = zip(*inputs_with_ids)
        resp = await self.client.post("/embed", json={"inputs": inputs})
        resp.raise_for_status()
        return list(zip(ids, resp.json()))


@app.function(
    image=modal.Image.debian_slim().uv_pip_install("pandas==2.2.3", "pyarrow==18.1.0"),
    volumes={"/data": data_volume},
    timeout=5000,
)
def embed_dataset():
    import pandas as pd

    model = TextEmbeddingsInference()
    df = pd.read_parquet("/data/reviews.parquet")
    rows = list(enumerate(df["text"].tolist()))
    batches = [rows[i : i + BATCH_SIZE] for i in range(0, len(rows), BATCH_SIZE)]
    resp = []
    for batch in model.embed.map(batches, order_outputs=False):
        resp.extend(batch)
    with open(os.path.join("/data", "embeddings.json"), "w") as f:
        json.dump(resp, f)
    data_volume.commit()


@app.local_entrypoint()
def main():
    embed_dataset.remote()
