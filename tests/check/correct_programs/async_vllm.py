"""vLLM's async engine in a class: many requests at once in one event loop, streamed."""

import time

import modal

image = modal.Image.from_registry(
    "nvidia/cuda:12.8.0-devel-ubuntu22.04", add_python="3.12"
).uv_pip_install("vllm==0.11.0", "fastapi[standard]==0.115.4")

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
REVISION = "0e9e39f249a16976918f6564b8830bc894c89659"
volume = modal.Volume.from_name("models", create_if_missing=True)

app = modal.App("async-vllm", image=image)


@app.cls(
    gpu=["H100", "A100-80GB"],
    volumes={"/root/.cache/huggingface": volume},
    secrets=[modal.Secret.from_name("huggingface-secret")],
    timeout=900,
    max_containers=4,
)
@modal.concurrent(max_inputs=64, target_inputs=32)
class Chat:
    @modal.enter()
    async def start(self):
        from vllm import AsyncEngineArgs, AsyncLLMEngine

        args = AsyncEngineArgs(
            model=MODEL, revision=REVISION, max_model_len=32_768, gpu_memory_utilization=0.90
        )
        self.engine = AsyncLLMEngine.from_engine_args(args)

    @modal.method()
    async def complete(self, prompt: str, request_id: str):
        from vllm import SamplingParams

        started, seen = time.perf_counter(), 0
        async for out in self.engine.generate(prompt, SamplingParams(max_tokens=256), request_id):
            text = out.outputs[0].text
            yield text[seen:]
            seen = len(text)
        print(f"{seen} characters in {time.perf_counter() - started:.1f} s")

    @modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
    async def ask(self, item: dict):
        from fastapi.responses import StreamingResponse

        return StreamingResponse(
            self.complete.local(item["prompt"], item["id"]), media_type="text/event-stream"
        )
