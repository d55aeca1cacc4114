"""2023-01: webhooks and ASGI apps as decorators of the stub; unsafe, because fastapi is added."""
# modalkit-test: unsafe
import json
import urllib.request

import modal

stub = modal.Stub("early-webhooks")


@stub.webhook(method="GET", label="early-hook", keep_warm=0)
def hook(x: int = 1):
    return {"x": x}


@stub.asgi(label="early-asgi")
def asgi():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"early"})

    return app


@stub.local_entrypoint
def main():
    with urllib.request.urlopen(hook.web_url) as answer:
        assert json.load(answer) == {"x": 1}
    with urllib.request.urlopen(asgi.web_url) as answer:
        assert answer.read() == b"early"
    print("done")
