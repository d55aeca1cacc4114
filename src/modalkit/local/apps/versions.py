"""One deployment of an app, as it is kept: enough to run it again."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field

from ..protocol import api

__all__ = ["Version"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a deployed app.

    Attributes:
        deployed_at: Seconds since the epoch.
        definitions: By tag, the function's id and its definition as bytes. What a definition names
            (images, mounted files, secrets) is kept by content or id and never removed while the
            state folder lives.
        classes: Class ids by name.
        tag: The deployment's, from ``modal deploy --tag``.
        commit: The client's description of the commit, as bytes.
        restores: The version that a rollback or a promotion brought back; 0 for an ordinary deployment.
        staged: It was only put aside, to be promoted later.
    """

    number: int
    deployed_at: float
    definitions: dict[str, tuple[str, bytes]]
    classes: dict[str, str]
    client_version: str = ""
    tag: str = ""
    commit: bytes = b""
    restores: int = 0
    kind: api.DeploymentType.ValueType = api.DEPLOYMENT_TYPE_STANDARD
    staged: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    def functions(self) -> dict[str, tuple[str, api.Function]]:
        """Return each function's id and definition by tag."""
        return {
            tag: (identity, api.Function.FromString(definition))
            for tag, (identity, definition) in self.definitions.items()
        }

    def to_bytes(self) -> bytes:
        """Write it down."""
        body = asdict(self)
        body["commit"] = _text(self.commit)
        body["definitions"] = {
            tag: [identity, _text(definition)]
            for tag, (identity, definition) in self.definitions.items()
        }
        return json.dumps(body).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        """Read what `to_bytes` wrote."""
        body = json.loads(data)
        body["commit"] = base64.b64decode(body["commit"])
        body["definitions"] = {
            tag: (identity, base64.b64decode(definition))
            for tag, (identity, definition) in body["definitions"].items()
        }
        return cls(**body)

    def history(self, app_id: str, current: int) -> api.AppDeploymentHistory:
        """Describe it to the client."""
        return api.AppDeploymentHistory(
            app_id=app_id,
            version=self.number,
            client_version=self.client_version,
            deployed_at=self.deployed_at,
            deployed_by="local",
            tag=self.tag,
            rollback_version=self.restores,
            rollback_allowed=self.number != current and not self.staged,
            commit_info=api.CommitInfo.FromString(self.commit),
            deployment_type=self.kind,
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
