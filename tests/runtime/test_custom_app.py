"""Typed routes of a custom service over HTTP."""

from __future__ import annotations

import asyncio
import base64
from typing import Literal

import httpx
import pytest
from pydantic import BaseModel, Field

from modalkit.declare.batches import Batch
from modalkit.declare.credentials import BearerKeys
from modalkit.declare.endpoints import Endpoint
from modalkit.declare.exposure import CORS
from modalkit.declare.routes import endpoint
from modalkit.errors import DeclarationError
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.door import guarded


class Text(BaseModel):
    text: str = Field(min_length=1)


class Label(BaseModel):
    label: str
    score: float


Lie = Literal["text", "missing", "changed", "dict"]

_changed = Label(label="calm", score=1.0)
_changed.score = "high"
LIES = {
    "text": "loud",
    "missing": {"label": "loud"},
    "changed": _changed,
    "dict": {"label": "loud", "score": 1},
}


class Classifier:
    """Says whether a text is loud."""

    weights = None

    def load(self) -> None:
        self.loud = ""

    def wake(self) -> None:
        self.loud = "!"

    def warm_up(self) -> None:
        assert self.loud

    def unload(self) -> None:
        del self.loud

    @endpoint("/classify")
    def classify(self, request: Text) -> Label:
        """Classify one text."""
        return Label(label="loud" if self.loud in request.text else "calm", score=1.0)

    @endpoint("/repeat")
    async def repeat(self, word: str, times: int = 2) -> list[str]:
        return [word] * times

    @endpoint("/lengths", batch=Batch(8))
    def lengths(self, requests: list[Text]) -> list[int]:
        return [len(request.text) for request in requests]

    @endpoint("/lies")
    def lies(self, how: Lie) -> Label:
        """Answer something that is no Label, or is one after all."""
        return LIES[how]

    @endpoint("/turned")
    def turned(self, data: bytes = b"\xff") -> bytes:
        return data[::-1]

    @endpoint("/loudest")
    def loudest(self, request: Text = Text(text="HEY")) -> str:  # noqa: B008
        return request.text

    @endpoint("/broken")
    def broken(self, request: Text) -> Label:
        msg = "the password is hunter2"
        raise RuntimeError(msg)


def routes():
    names = ("classify", "repeat", "lengths", "lies", "turned", "loudest", "broken")
    return {name: vars(Classifier)[name] for name in names}


def ask(requests, served=None, service=Classifier):
    """Start the service, run one coroutine with an HTTP client on it, stop it."""

    async def scenario():
        rules = served or Endpoint(public=True)
        host = CustomHost(service(), routes())
        await host.start()
        transport = httpx.ASGITransport(guarded(host.app(rules), rules))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            answer = await requests(client)
        await host.stop()
        return answer

    return asyncio.run(scenario())


def post(path, body, served=None, **options):
    return ask(lambda client: client.post(path, json=body, **options), served)


def test_a_model_parameter_is_the_body():
    """A method with one pydantic parameter takes that model and answers its own."""
    answer = post("/classify", {"text": "Hello!"})
    assert (answer.status_code, answer.json()) == (200, {"label": "loud", "score": 1.0})


def test_plain_parameters_are_fields_of_the_body():
    """A method with plain parameters takes an object with a field for each, defaults kept."""
    assert post("/repeat", {"word": "hi"}).json() == ["hi", "hi"]
    assert post("/repeat", {"word": "hi", "times": 3}).json() == ["hi", "hi", "hi"]


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/classify", {"text": ""}, ["body", "text"]),
        ("/classify", {}, ["body", "text"]),
        ("/repeat", {"word": "hi", "times": "many"}, ["body", "times"]),
        ("/repeat", {"word": "hi", "tiems": 3}, ["body", "tiems"]),
        ("/lengths", {"text": 3}, ["body", "text"]),
    ],
)
def test_a_body_that_does_not_fit_is_422_with_the_field(path, body, place):
    """A wrong body is refused with 422 and the place of each problem."""
    answer = post(path, body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place


@pytest.mark.parametrize(("length", "is_told"), [(16 * 1024, True), (16 * 1024 + 1, False)])
def test_a_wrong_value_is_told_while_the_body_is_small(length, is_told):
    """What a client sent comes back in the refusal, but not megabytes of it."""
    body = b'{"text": ["%s"]}' % (b"a" * (length - len(b'{"text": [""]}')))
    answer = ask(lambda client: client.post("/classify", content=body))
    (problem,) = answer.json()["detail"]
    assert (answer.status_code, problem["loc"]) == (422, ["body", "text"])
    assert ("input" in problem) == is_told


def test_a_body_that_is_not_json_is_422():
    """Bytes that are not JSON are a problem of the body, not of the server."""
    answer = ask(lambda client: client.post("/classify", content=b"{"))
    assert answer.status_code == 422


@pytest.mark.parametrize("body", [b"\x89PNG\r\n\x00\xff", b'{"text": "\xff"}', b"\xff" * 20_000])
def test_a_body_that_is_no_text_is_422(body):
    """What cannot be told again in JSON is left out of the problem, which names its kind all the same."""
    answer = ask(lambda client: client.post("/classify", content=body))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "json_invalid"


def test_http_requests_share_batches():
    """Requests that arrive together are answered from shared batches, in order."""

    async def many(client):
        sent = [client.post("/lengths", json={"text": "x" * size}) for size in range(1, 21)]
        return [answer.json() for answer in await asyncio.gather(*sent)]

    assert ask(many) == list(range(1, 21))


def test_a_failing_method_tells_strangers_nothing():
    """An exception is a 500 that keeps its message in the service's log."""
    answer = post("/broken", {"text": "x"})
    assert answer.status_code == 500
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("how", "status"), [("text", 500), ("missing", 500), ("changed", 500), ("dict", 200)]
)
def test_an_answer_is_held_to_its_type(how, status, caplog):
    """What does not fit the declared answer is a logged 500; what can be made to fit, is."""
    answer = post("/lies", {"how": how})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"label": "loud", "score": 1.0}
    else:
        assert caplog.messages == ["lies failed"]


def test_bytes_travel_as_base64():
    """Bytes that are no text are base64 in the body and in the answer."""
    sent = base64.urlsafe_b64encode(b"\x00\xfe\xff").decode()
    answer = post("/turned", {"data": sent})
    assert base64.urlsafe_b64decode(answer.json()) == b"\xff\xfe\x00"


def test_an_empty_body_takes_the_defaults():
    """A route whose parameters have defaults needs no body; the others do."""

    def empty(path):
        return ask(lambda client: client.post(path))

    assert empty("/turned").json() == "_w=="
    assert empty("/loudest").json() == "HEY"
    assert [empty("/repeat").status_code, empty("/lengths").status_code] == [422, 422]
    paths = ask(lambda client: client.get("/openapi.json")).json()["paths"]
    needed = [paths[path]["post"]["requestBody"]["required"] for path in ("/turned", "/repeat")]
    assert needed == [False, True]


def test_the_schema_says_of_the_service_what_its_docstring_says():
    """The description is the class's own docstring, and nothing where it has none."""

    def description(service):
        answer = ask(lambda client: client.get("/openapi.json"), service=service)
        return answer.json()["info"]["description"]

    class Silent(Classifier):
        pass

    assert description(Classifier) == "Says whether a text is loud."
    assert description(Silent) == ""


def test_the_schema_asks_for_a_key_where_one_is_asked_for(monkeypatch):
    """Security is in the schema of an endpoint with a key, and not in a public one's."""
    monkeypatch.setenv("MODALKIT_API_KEY", "key")

    def schema(rules):
        key = {"Authorization": "Bearer key"}
        return ask(lambda client: client.get("/openapi.json", headers=key), rules).json()

    closed, public = schema(Endpoint(auth=BearerKeys())), schema(Endpoint(public=True))
    assert closed["security"] == [{"key": []}]
    assert closed["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "security" not in public
    assert "securitySchemes" not in public["components"]


def test_a_trailing_slash_is_another_path():
    """Nothing redirects: behind a prefix it would lead out of the service."""
    for rules, path in [
        (Endpoint("/api", public=True), "/api/classify/"),
        (Endpoint(public=True), "/docs/"),
    ]:
        assert post(path, {"text": "x"}, rules).status_code == 404


def test_the_schema_names_types_and_problems():
    """The OpenAPI document has every route with its request, its answer and the 422."""
    schema = ask(lambda client: client.get("/openapi.json")).json()
    assert set(schema["paths"]) == {f"/{name}" for name in routes()}
    classify = schema["paths"]["/classify"]["post"]
    assert classify["summary"] == "Classify one text."
    body = classify["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Text"}
    assert set(classify["responses"]) == {"200", "422", "429", "500", "504"}
    assert {"Text", "Label"} <= set(schema["components"]["schemas"])


def test_the_docs_page_needs_nothing_from_outside():
    """The documentation page loads no script or style from elsewhere."""
    page = ask(lambda client: client.get("/docs")).text
    assert "openapi.json" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_key_guards_everything_but_health(monkeypatch):
    """With a key declared every route but the health check answers 401 without it."""
    monkeypatch.setenv("MODALKIT_API_KEY", "old-key,new-key")
    closed = Endpoint(auth=BearerKeys())
    assert post("/classify", {"text": "x"}, closed).status_code == 401
    wrong = {"Authorization": "Bearer other"}
    assert post("/classify", {"text": "x"}, closed, headers=wrong).status_code == 401
    for key in ("old-key", "new-key"):
        right = {"Authorization": f"Bearer {key}"}
        assert post("/classify", {"text": "x"}, closed, headers=right).status_code == 200
    assert ask(lambda client: client.get("/health"), closed).status_code == 200
    assert ask(lambda client: client.get("/openapi.json"), closed).status_code == 401
    page = ask(lambda client: client.get("/docs"), closed)
    assert page.status_code == 200
    assert "classify" not in page.text


def test_a_missing_key_stops_the_container(monkeypatch):
    """A container whose key variable is empty refuses to serve rather than serve openly."""
    monkeypatch.delenv("TEAM_KEYS", raising=False)
    with pytest.raises(DeclarationError, match="TEAM_KEYS"):
        post("/classify", {"text": "x"}, Endpoint(auth=BearerKeys(variable="TEAM_KEYS")))


def test_a_path_prefix_moves_every_route():
    """Endpoint(path=...) serves below that path and nowhere else, schema included."""
    below = Endpoint("/loudness", public=True)
    assert post("/loudness/classify", {"text": "x"}, below).status_code == 200
    assert post("/classify", {"text": "x"}, below).status_code == 404
    assert post("/loudnessclassify", {"text": "x"}, below).status_code == 404
    schema = ask(lambda client: client.get("/loudness/openapi.json"), below).json()
    assert "/loudness/classify" in schema["paths"]


def test_cors_answers_a_preflight_without_a_key(monkeypatch):
    """A browser's preflight from an allowed origin passes; another origin's does not."""
    monkeypatch.setenv("MODALKIT_API_KEY", "key")
    rules = Endpoint(auth=BearerKeys(), cors=CORS("https://app.example.com"))

    def preflight(origin):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return ask(lambda client: client.options("/classify", headers=headers), rules)

    assert preflight("https://app.example.com").status_code == 200
    assert preflight("https://evil.example.com").status_code == 400


def test_docs_can_be_left_out():
    """Endpoint(docs=False) serves neither the page nor the schema."""
    bare = Endpoint(public=True, docs=False)
    assert ask(lambda client: client.get("/docs"), bare).status_code == 404
    assert ask(lambda client: client.get("/openapi.json"), bare).status_code == 404
