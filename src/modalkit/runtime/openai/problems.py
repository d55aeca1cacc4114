"""The errors of the OpenAI API: a status, and a body every OpenAI client understands."""

from __future__ import annotations

from http import HTTPStatus

from ...errors import EngineRequestError

__all__ = [
    "ApiError",
    "context_too_long",
    "invalid",
    "model_not_found",
    "overloaded",
    "unsupported",
    "wrong_key",
]

_KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


class ApiError(EngineRequestError):
    """An answer other than 200, raised anywhere below the routes.

    Attributes:
        status: The HTTP status.
        param: The request field at fault, such as ``messages[0].content``.
        code: A stable word for programs, such as ``context_length_exceeded``.
        retry_after_s: Sent as ``Retry-After`` when the client should come back.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(status, message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> str:
        """The ``type`` of the body: who has to change something."""
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "server_error"
        return _KINDS.get(HTTPStatus(self.status), "invalid_request_error")

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body."""
        fields = {"message": self.message, "type": self.kind, "param": self.param}
        return {"error": {**fields, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Headers that belong to the error."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def invalid(*, param: str | None, message: str, code: str = "invalid_value") -> ApiError:
    """A 400 for a field whose value cannot be right."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def unsupported(*, param: str, instead: str) -> ApiError:
    """A 400 for a field that this server could only ignore."""
    message = f"{param!r} is not supported by this model server. {instead}"
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code="unsupported_parameter")


def context_too_long(prompt: int, answer: int, limit: int, param: str) -> ApiError:
    """A 400 for a prompt that leaves no room for the answer; all counts are tokens."""
    message = (
        f"This model's context length is {limit} tokens, but the prompt has {prompt} and "
        f"{answer} were asked for the answer. Shorten the prompt or lower max_tokens."
    )
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code="context_length_exceeded")


def model_not_found(asked: str, served: str) -> ApiError:
    """A 404 for a model this process does not serve."""
    message = f"The model {asked!r} does not exist here. This server has {served!r}."
    return ApiError(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found")


def overloaded(waiting: int, retry_after_s: int = 1) -> ApiError:
    """A 429 for a full waiting queue."""
    message = f"The server is busy: {waiting} requests are waiting. Try again later."
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        message,
        code="rate_limit_exceeded",
        retry_after_s=retry_after_s,
    )


def wrong_key() -> ApiError:
    """A 401; it never repeats the key that was sent."""
    message = "Missing or incorrect API key. Send it as 'Authorization: Bearer KEY'."
    return ApiError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key")
