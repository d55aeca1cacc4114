"""Where a service's traces go, as OpenTelemetry's own variables say, and what its image then needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .image import ImageSpec
from .image.installs import UvInstall
from .secrets import Secret

__all__ = ["COLLECTOR_VARIABLES", "collector", "with_tracing"]

# Those that name a collector, the more particular first.
COLLECTOR_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_REQUIREMENTS = (
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "opentelemetry-sdk==1.45.2",
)


def collector(variables: Mapping[str, str], secrets: Sequence[Secret]) -> str | None:
    """Return where traces go: an address, or the variable of a Secret that holds it.

    Args:
        variables: A service's plain variables.
        secrets: Its Secrets.

    Examples:
        >>> collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel.example.com"}, ())
        'https://otel.example.com'
        >>> collector({}, ()) is None
        True
    """
    held = {key for secret in secrets for key in secret.keys}
    named = [name for name in COLLECTOR_VARIABLES if variables.get(name) or name in held]
    if not named or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return variables.get(named[0]) or f"the address in {named[0]}"


def with_tracing(image: ImageSpec) -> ImageSpec:
    """Return an image with OpenTelemetry, first, so that pins of the image's own have the last word."""
    needed = UvInstall(requirements=_REQUIREMENTS)
    return ImageSpec(base=image.base, layers=(needed, *image.layers))
