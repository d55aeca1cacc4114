"""One service for each kind of endpoint and each way to be let in; Echo stands in for an engine."""

import modal

from modalkit import BearerKeys, Echo, Endpoint, ModelService, ProxyAuth, Scaling, serve

app = modal.App("modes")
SMALL = Scaling(max_containers=1, scaledown_window=300)
BOTH = (ProxyAuth(), BearerKeys())


@serve(app)
class WebTokens(ModelService):
    engine = Echo()
    scaling = SMALL


@serve(app)
class WebKeys(ModelService):
    engine = Echo()
    api = Endpoint(auth=BearerKeys())
    scaling = SMALL


@serve(app)
class WebBoth(ModelService):
    engine = Echo()
    api = Endpoint(auth=BOTH)
    scaling = SMALL


@serve(app)
class WebPublic(ModelService):
    engine = Echo()
    api = Endpoint(public=True)
    scaling = SMALL


@serve(app)
class ServerTokens(ModelService):
    engine = Echo()
    api = Endpoint(kind="server", port=18700)
    scaling = SMALL


@serve(app)
class ServerKeys(ModelService):
    engine = Echo()
    api = Endpoint(kind="server", auth=BearerKeys(), port=18701)
    scaling = SMALL


@serve(app)
class ServerBoth(ModelService):
    engine = Echo()
    api = Endpoint("/llm", kind="server", auth=BOTH, port=18702)
    scaling = SMALL


@serve(app)
class ServerPublic(ModelService):
    engine = Echo()
    api = Endpoint(kind="server", public=True, port=18703)
    scaling = SMALL
