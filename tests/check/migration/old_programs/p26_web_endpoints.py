"""2024-04: endpoints by their old name, without fastapi in the image; unsafe, because it adds a package."""
# modalkit-test: unsafe
import json
import urllib.request

import modal
from modal import Stub, web_endpoint

stub = Stub("web-endpoints")


@stub.function(allow_concurrent_inputs=10)
@web_endpoint(method="GET", label="hello-web", wait_for_response=True)
def hello(name: str = "you"):
    return {"hello": name}


@stub.cls(keep_warm=0)
class Service:
    @modal.web_endpoint(method="GET")
    def twice(self, x: int):
        return 2 * x


@stub.function()
@modal.asgi_app()
def asgi():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"raw"})

    return app


@stub.local_entrypoint()
def main():
    with urllib.request.urlopen(hello.web_url + "?name=me") as answer:
        assert json.load(answer) == {"hello": "me"}
    with urllib.request.urlopen(asgi.web_url) as answer:
        assert answer.read() == b"raw"
    print("done")
