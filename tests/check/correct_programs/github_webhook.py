"""A webhook that checks its signature, and work that is done behind it."""

import hashlib
import hmac
import os

import modal

image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "fastapi[standard]==0.115.4", "httpx==0.28.1"
)
app = modal.App("github-hook", image=image)
events = modal.Queue.from_name("events", create_if_missing=True)

with image.imports():
    import httpx
    from fastapi import FastAPI, Header, HTTPException, Request

    web_app = FastAPI()

    @web_app.post("/hook")
    async def hook(request: Request, x_hub_signature_256: str = Header("")):
        body = await request.body()
        secret = os.environ["WEBHOOK_SECRET"].encode()
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, x_hub_signature_256):
            raise HTTPException(status_code=403)
        await handle.spawn.aio(await request.json())
        return {"ok": True}


@app.function(timeout=600, retries=2)
async def handle(event: dict) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(event["repository"]["url"])
    await events.put.aio({"name": answer.json()["full_name"], "status": answer.status_code})


@app.function(
    secrets=[modal.Secret.from_name("github-hook", required_keys=["WEBHOOK_SECRET"])],
    min_containers=1,
)
@modal.concurrent(max_inputs=50)
@modal.asgi_app()
def web():
    return web_app
