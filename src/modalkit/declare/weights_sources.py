"""Where weights come from when not from the model hub: a bucket, another Volume, a folder here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import TypeAdapter, model_validator

from .._names import check_object_name
from .._values import Value
from ..errors import DeclarationError
from .secrets import Secret

if TYPE_CHECKING:
    import modal

__all__ = ["Bucket", "LocalFolder", "VolumeFolder", "WeightSource", "weight_source"]

_FORMS = "'s3://bucket/prefix', 'volume://name/path' or './folder'"


class Bucket(Value):
    """A folder of a bucket, read through Modal's bucket mount while weights are prefetched.

    Args:
        url: ``"s3://bucket"`` or ``"s3://bucket/prefix"``; also for buckets elsewhere, with
            ``endpoint_url``.
        secret: Secret with ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` (for Google's
            ``GOOGLE_ACCESS_KEY_ID`` and ``GOOGLE_ACCESS_KEY_SECRET``). Default: a public bucket.
        endpoint_url: Where a bucket that is not Amazon's answers, such as Cloudflare R2's address.

    Raises:
        DeclarationError: An address of another form.

    Examples:
        >>> Bucket("s3://models/qwen3").prefix
        'qwen3/'
        >>> Bucket("https://models.s3.amazonaws.com/qwen3")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Bucket.url 'https://models.s3.amazonaws.com/qwen3' is not a bucket's. Write 's3://bucket/prefix', with endpoint_url='https://...' where it is not Amazon's.
    """

    url: str
    secret: Secret | None = None
    endpoint_url: str | None = None

    def __init__(
        self, url: str, *, secret: Secret | None = None, endpoint_url: str | None = None
    ) -> None:
        super().__init__(url=url, secret=secret, endpoint_url=endpoint_url)

    @model_validator(mode="after")
    def _is_a_bucket(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query:
            msg = (
                f"Bucket.url {self.url!r} is not a bucket's. Write 's3://bucket/prefix', with "
                "endpoint_url='https://...' where it is not Amazon's."
            )
            raise DeclarationError(msg)
        return self

    @property
    def prefix(self) -> str:
        """What the keys begin with: nothing, or a path that ends in ``/``."""
        path = urlsplit(self.url).path.strip("/")
        return f"{path}/" if path else ""

    def to_modal(self) -> modal.CloudBucketMount:
        """Compile to a read-only ``modal.CloudBucketMount``."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.CloudBucketMount(
            urlsplit(self.url).netloc,
            bucket_endpoint_url=self.endpoint_url,
            key_prefix=self.prefix or None,
            secret=self.secret.to_modal() if self.secret else None,
            read_only=True,
        )

    def __str__(self) -> str:
        return self.url


class VolumeFolder(Value):
    """A folder of another Volume, as ``"volume://name/path"`` says it.

    Attributes:
        name: The Volume's name in Modal.
        path: The folder; empty for all of it.
    """

    name: str
    path: str = ""

    def to_modal(self) -> modal.Volume:
        """Compile to the ``modal.Volume``, mounted read-only; it must exist."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        volume = modal.Volume.from_name(self.name)
        return volume.with_mount_options(read_only=True, sub_path=self.path or None)

    def __str__(self) -> str:
        return f"volume://{self.name}/{self.path}".rstrip("/")


class LocalFolder(Value):
    """A folder of this machine, beside the service's file unless it is absolute."""

    path: str

    def __str__(self) -> str:
        return self.path


WeightSource = Bucket | VolumeFolder | LocalFolder
_SOURCES: TypeAdapter[WeightSource] = TypeAdapter(WeightSource)


def weight_source(where: str, source: object) -> WeightSource | None:
    """Read a source as people write it.

    Args:
        where: What messages call it.
        source: A `Bucket`, or text: ``"s3://..."``, ``"volume://..."``, ``"./folder"``.

    Raises:
        DeclarationError: Anything else.
    """
    if source is None or isinstance(source, WeightSource):
        return source
    if isinstance(source, str) and source.startswith("s3://"):
        return Bucket(source)
    if isinstance(source, str) and source.startswith("volume://"):
        return _volume_folder(where, source)
    if isinstance(source, str) and source.startswith(("./", "../", "/")):
        return LocalFolder(path=source)
    if isinstance(source, Mapping):  # as JSON has it
        return _SOURCES.validate_python(source)
    msg = f"{where}.source {source!r} is no source of weights. Write {_FORMS}, or leave it out for the hub."
    raise DeclarationError(msg)


def _volume_folder(where: str, source: str) -> VolumeFolder:
    name, _, path = source.removeprefix("volume://").partition("/")
    check_object_name(f"{where}.source", name)
    if ".." in PurePosixPath(path).parts:
        msg = f"{where}.source {source!r} leads out of the Volume. Write 'volume://{name}/path'."
        raise DeclarationError(msg)
    return VolumeFolder(name=name, path=path.strip("/"))
