"""Flux in diffusers: compiled once, called as a method and through a FastAPI app with a bearer token."""

import os
from io import BytesIO

import modal

diffusers_commit_sha = "81cf3b2f155f1de322079af28f625349ee21ec6b"

flux_image = (
    modal.Image.from_registry("nvidia/cuda:12.4.0-devel-ubuntu22.04", add_python="3.11")
    .entrypoint([])
    .apt_install("git", "libglib2.0-0", "libsm6", "libxrender1", "libxext6", "ffmpeg", "libgl1")
    .uv_pip_install(
        "invisible-watermark==0.2.0",
        "transformers==4.44.0",
        "huggingface-hub==0.26.2",
        "accelerate==0.33.0",
        "safetensors==0.4.4",
        "sentencepiece==0.2.0",
        "torch==2.5.0",
        f"git+https://github.com/huggingface/diffusers.git@{diffusers_commit_sha}",
        "numpy<2",
        "fastapi[standard]==0.115.4",
    )
    .env({"HF_HUB_CACHE": "/cache"})
)

app = modal.App("example-flux", image=flux_image)

with flux_image.imports():
    import torch
    from diffusers import FluxPipeline
    from fastapi import Depends, FastAPI, HTTPException, Response, status
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

MINUTES = 60
REVISION = "741f7c3ce8b383c54771c7003378a50191e9efe9"
cache = modal.Volume.from_name("hf-hub-cache", create_if_missing=True)


@app.cls(
    gpu="H100",
    scaledown_window=20 * MINUTES,
    timeout=60 * MINUTES,
    max_containers=3,
    volumes={"/cache": cache},
)
class Model:
    compile: bool = modal.parameter(default=False)

    @modal.enter()
    def enter(self):
        self.pipe = FluxPipeline.from_pretrained(
            "black-forest-labs/FLUX.1-schnell", revision=REVISION, torch_dtype=torch.bfloat16
        ).to("cuda")

    @modal.method()
    def inference(self, prompt: str) -> bytes:
        out = self.pipe(prompt, output_type="pil", num_inference_steps=4).images[0]
        byte_stream = BytesIO()
        out.save(byte_stream, format="JPEG")
        return byte_stream.getvalue()


web_image = modal.Image.debian_slim(python_version="3.11").uv_pip_install(
    "fastapi[standard]==0.115.4"
)


@app.function(
    image=web_image,
    secrets=[modal.Secret.from_name("flux-web", required_keys=["AUTH_TOKEN"])],
)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def web():
    from fastapi import Depends, FastAPI, HTTPException, Response, status
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

    api = FastAPI()
    scheme = HTTPBearer()

    def check(token: HTTPAuthorizationCredentials = Depends(scheme)) -> None:
        if token.credentials != os.environ["AUTH_TOKEN"]:
            raise HTTPException(status_code=status.HTTP_401_UNAUTHORIZED, detail="wrong token")

    @api.get("/draw", dependencies=[Depends(check)])
    async def draw(prompt: str):
        image_bytes = await Model().inference.remote.aio(prompt)
        return Response(content=image_bytes, media_type="image/jpeg")

    return api


@app.local_entrypoint()
def main(prompt: str = "a computer screen showing ASCII terminal art"):
    print(len(Model(compile=False).inference.remote(prompt)))
