from __future__ import annotations

import inspect

import modal
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from modalkit.declare.credentials import BearerKeys, ProxyAuth
from modalkit.declare.endpoints import Endpoint
from modalkit.declare.exposure import CORS
from modalkit.declare.secrets import Secret
from modalkit.errors import DeclarationError


def refused(make) -> str:
    with pytest.raises(DeclarationError) as raised:
        make()
    return str(raised.value)


def test_an_endpoint_asks_for_modals_tokens_unless_it_says_otherwise():
    """Saying nothing means Modal's proxy tokens; public=True is the only way to ask for nothing."""
    assert Endpoint().auth == (ProxyAuth(),)
    assert Endpoint(auth=None).asks_proxy_tokens
    assert Endpoint(public=True).auth == ()
    assert Endpoint().keys is None


def test_both_credentials_may_be_asked_for():
    """A list asks for both, in whatever order and sequence it is written."""
    both = Endpoint(auth=[BearerKeys(), ProxyAuth()])
    assert both.asks_proxy_tokens
    assert both.keys == BearerKeys(Secret("modalkit-api-key"), variable="MODALKIT_API_KEY")
    assert both.to_modal() == {"requires_proxy_auth": True}


def test_the_key_is_a_required_key_of_its_secret():
    """Modal refuses the deployment when the Secret lacks the variable that holds the key."""
    assert BearerKeys(Secret("team", keys=["A"]), variable="B").secret.keys == ("A", "B")
    assert BearerKeys().secret.keys == ("MODALKIT_API_KEY",)


@pytest.mark.parametrize(
    ("endpoint", "web"),
    [
        (Endpoint(auth=BearerKeys()), {"requires_proxy_auth": False}),
        (Endpoint(), {"requires_proxy_auth": True}),
        (Endpoint(public=True, label="chat"), {"requires_proxy_auth": False, "label": "chat"}),
    ],
)
def test_web_keywords(endpoint, web):
    """Modal's edge asks for a token just with ProxyAuth; keys are asked for behind it."""
    assert endpoint.to_modal() == web
    assert web.keys() <= inspect.signature(modal.asgi_app).parameters.keys()
    modal.asgi_app(**web)


@pytest.mark.parametrize(
    ("auth", "unauthenticated"),
    [(None, False), (BearerKeys(), True), ([ProxyAuth(), BearerKeys()], False)],
)
def test_server_keywords(auth, unauthenticated):
    """Behind an open edge the container asks for keys; with ProxyAuth the edge asks first."""
    options = Endpoint(
        kind="server", auth=auth, port=30000, routing_region="eu-west"
    ).to_modal_server()
    assert options == {
        "port": 30000,
        "unauthenticated": unauthenticated,
        "routing_region": "eu-west",
    }
    assert options.keys() <= inspect.signature(modal.App.server).parameters.keys()
    modal.App().server(**options)


def test_each_kind_has_its_own_compile_method():
    """Asking for the keywords of the other kind is an error that names the right method."""
    assert "Use to_modal_server()." in refused(Endpoint(kind="server").to_modal)
    assert "Use to_modal()." in refused(Endpoint().to_modal_server)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: Endpoint(public=True, auth=BearerKeys()),
            "auth is BearerKeys(). Leave one of the two out.",
        ),
        (lambda: Endpoint(auth=[]), "neither auth nor public=True"),
        (lambda: Endpoint(auth=[BearerKeys(), BearerKeys(Secret("b"))]), "in one Secret"),
        (lambda: Endpoint(rate_limit_per_minute=60), "auth is ProxyAuth(). Write auth=BearerKeys"),
        (lambda: Endpoint(public=True, rate_limit_per_minute=60), "but auth is None."),
        (
            lambda: Endpoint(auth=BearerKeys(), rate_limit_per_minute=0),
            "rate_limit_per_minute must be 1 to 1000000, got 0.",
        ),
        (lambda: Endpoint(max_body_mib=0), "must be 1 to 4096 MiB, got 0."),
        (lambda: Endpoint(metrics="public"), "must be 'open', 'key' or 'closed', got 'public'."),
        (lambda: Endpoint(access_log=True), "must be 'off', 'requests' or 'prompts', got True."),
        (lambda: Endpoint("chat"), "Write '/chat'."),
        (lambda: Endpoint("/chat/"), "Write '/chat'."),
        (lambda: Endpoint("/my chat?x=1"), "Write '/my-chat'."),
        (lambda: Endpoint("/a/../b"), "Write '/a/b'."),
        (lambda: Endpoint(kind="sever"), "must be 'web' or 'server', got 'sever'."),
        (lambda: Endpoint(port=0), "must be 1 to 65535, got 0."),
        (lambda: Endpoint(label="My_App"), "Write 'my-app'."),
        (lambda: Endpoint(label="a" * 64), f"Write '{'a' * 63}'."),
        (lambda: Endpoint(label="123"), "not digits alone."),
        (lambda: Endpoint(routing_region="us_east"), "Write one such as 'us-east'."),
        (lambda: Endpoint(kind="server", label="x"), ".label has no effect"),
        (lambda: CORS([]), "CORS.origins is empty"),
        (lambda: CORS("app.example.com"), "Write 'https://app.example.com'."),
        (lambda: CORS("https://app.example.com/page"), "Write 'https://app.example.com'."),
        (lambda: CORS("*", credentials=True), "would let every web page act as the visitor"),
        (lambda: CORS("*", max_age_s=-1), "must be 0 to 86400 seconds, got -1."),
    ],
)
def test_impossible_endpoints_are_refused(make, told):
    """What cannot work, or would be open by accident, names the remedy."""
    assert told in refused(make)


@pytest.mark.parametrize(
    "make",
    [
        lambda key: Endpoint(auth=key),
        BearerKeys,
        lambda key: BearerKeys(variable=key),
        lambda key: BearerKeys(Secret("team"), variable=key),
    ],
)
def test_a_pasted_key_is_refused_and_never_shown(make):
    """Wherever the key itself is written by mistake, the error does not repeat it."""
    key = "sk-" + "1234567890abcdefABCDEF"
    assert key not in refused(lambda: make(key))


@pytest.mark.parametrize("label", ["a", "chat", "a-b", "x" * 63, "1a", "-a", "a-", "A", "", "1"])
def test_labels_are_what_modal_calls_a_subdomain(label):
    """A label is accepted just when Modal's client would accept it as a host name's part."""
    from modal._utils.name_utils import is_valid_subdomain_label

    if label and is_valid_subdomain_label(label):
        assert Endpoint(label=label).label == label
    else:
        assert "cannot stand in a host name" in refused(lambda: Endpoint(label=label))


def test_cors_lets_in_just_who_was_named():
    """Starlette's middleware, given the compiled keywords, answers the named origin alone."""
    cors = CORS("https://app.example.com", credentials=True)
    app = Starlette(
        routes=[Route("/", lambda _: PlainTextResponse("hello"))],
        middleware=[Middleware(CORSMiddleware, **cors.to_starlette())],
    )
    client = TestClient(app)
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    friend = client.options("/", headers={"Origin": "https://app.example.com", **ask})
    stranger = client.options("/", headers={"Origin": "https://evil.example", **ask})
    assert friend.headers["access-control-allow-origin"] == "https://app.example.com"
    assert friend.headers["access-control-max-age"] == "600"
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize("word", ["no", "false", "", "true", 1, 0])
def test_public_is_true_or_false_and_nothing_that_looks_like_it(word):
    """A string from the environment neither opens an endpoint nor takes its key away."""
    with pytest.raises(DeclarationError, match=r"Endpoint\.public must be a valid boolean"):
        Endpoint(public=word)
