"""SGLang as a Server of Modal's: authenticated, a subprocess that is waited for and ended."""

import subprocess
import time

import modal

MINUTES = 60
PORT = 8000
MODEL = "Qwen/Qwen3-32B"
REVISION = "9216db5781bf21249d130ec9da846c4624c16137"

image = (
    modal.Image.from_registry("lmsysorg/sglang:v0.5.5-cu129")
    .entrypoint([])
    .uv_pip_install("requests==2.32.5")
    .env({"HF_HOME": "/cache", "HF_XET_HIGH_PERFORMANCE": "1"})
)
cache = modal.Volume.from_name("huggingface-cache", create_if_missing=True)

app = modal.App("sglang-qwen")


@app.server(
    image=image,
    gpu="H100:2",
    volumes={"/cache": cache},
    startup_timeout=20 * MINUTES,
    scaledown_window=5 * MINUTES,
    max_containers=2,
    target_concurrency=64,
    port=PORT,
)
class Server:
    @modal.enter()
    def start(self):
        cmd = [
            "python",
            "-m",
            "sglang.launch_server",
            "--model-path",
            MODEL,
            "--revision",
            REVISION,
            "--tp",
            "2",
            "--host",
            "0.0.0.0",
            "--port",
            str(PORT),
        ]
        self.process = subprocess.Popen(cmd, start_new_session=True)
        self._wait()

    def _wait(self):
        import requests

        deadline = time.time() + 15 * MINUTES
        while time.time() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"sglang ended with {self.process.returncode}")
            try:
                if requests.get(f"http://localhost:{PORT}/health", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(2)
        raise TimeoutError("sglang did not come up")

    @modal.exit()
    def stop(self):
        self.process.terminate()
        self.process.wait()
