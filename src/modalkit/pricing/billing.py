"""An account's own prices, asked of Modal."""

from __future__ import annotations

from ..errors import AccountError

__all__ = ["billed_rates"]


def billed_rates() -> dict[str, float]:
    """Return USD by rate key, as the workspace of this machine's Modal token pays them.

    Raises:
        AccountError: There is no token, Modal cannot be reached, or it does not tell.
    """
    import modal  # noqa: PLC0415 - only whoever asks for live prices needs it

    try:
        rates = modal.Workspace.from_context().billing.rates()
    except Exception as error:
        msg = (
            f"Modal did not tell the account's prices ({type(error).__name__}: {error}). Log in with "
            "`modal token new`, or leave --live out for the list prices."
        )
        raise AccountError(msg) from error
    return {key: float(usd) for key, usd in rates.items()}
