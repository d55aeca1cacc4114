"""A GGUF model on a small GPU: downloaded once by a function of its own, one call at a time."""

import threading
from pathlib import Path

import modal

CUDA = "nvidia/cuda:12.4.0-devel-ubuntu22.04"
image = (
    modal.Image.from_registry(CUDA, add_python="3.12")
    .apt_install("build-essential", "cmake")
    .uv_pip_install("huggingface-hub==0.36.0")
    .uv_pip_install("llama-cpp-python==0.3.16", gpu="L4")
)
models = modal.Volume.from_name("gguf", create_if_missing=True)
MODELS = Path("/models")
REPO = "unsloth/Qwen3-8B-GGUF"
REVISION = "e4ba70ddb7cc4da3fd2c55abd43ba1c2fd0ec60c"
FILE = "Qwen3-8B-Q4_K_M.gguf"

app = modal.App("gguf-chat", image=image)


@app.function(volumes={MODELS.as_posix(): models}, timeout=3600)
def download():
    from huggingface_hub import snapshot_download

    snapshot_download(REPO, revision=REVISION, allow_patterns=[FILE], local_dir="/models")
    models.commit()


@app.cls(gpu="L4", volumes={"/models": models}, max_containers=2)
@modal.concurrent(max_inputs=8)
class Chat:
    @modal.enter()
    def load(self):
        from llama_cpp import Llama

        self.lock = threading.Lock()
        self.llm = Llama(model_path=f"/models/{FILE}", n_gpu_layers=-1, n_ctx=8192)

    @modal.method()
    def answer(self, prompt: str) -> str:
        with self.lock:
            out = self.llm.create_chat_completion([{"role": "user", "content": prompt}])
        return out["choices"][0]["message"]["content"]


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?"):
    download.remote()
    print(Chat().answer.remote(prompt))
