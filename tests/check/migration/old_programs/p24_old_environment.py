"""2024: variables of the hub of that time."""
import os
import subprocess

import modal

CACHE = "/cache"
image = modal.Image.debian_slim().env(
    {
        "HF_HUB_ENABLE_HF_TRANSFER": "1",  # faster
        "TRANSFORMERS_CACHE": CACHE,
        'TOKENIZERS_PARALLELISM': "false",
    }
)
app = modal.App("old-environment", image=image)


@app.function(concurrency_limit=1)
def variables():
    return os.environ.get("HF_XET_HIGH_PERFORMANCE"), os.environ.get("HF_HUB_CACHE")


@app.function()
def download(model: str):
    subprocess.run(["huggingface-cli", "download", model, "--resume-download"], check=False)
    subprocess.run(f"huggingface-cli download {model}", shell=True, check=False)
    os.system("huggingface-cli login --token $HF_TOKEN")


@app.local_entrypoint()
def main():
    assert variables.remote() == ("1", "/cache")
    print("done")
