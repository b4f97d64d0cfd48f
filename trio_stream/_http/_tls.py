"""What is trusted, and what a failed handshake means in words.

What belongs here: the TLS context and the sentences. What does not: the handshake itself (`_socket`).
"""

from __future__ import annotations

import os
import ssl
from typing import Final

from ._httpx import httpx
from ._socket import os_reason

_REFUSALS: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR", "UNKNOWN_PSK", "HANDSHAKE_FAILURE")
"""Of these alerts (RFC 8446, 6.2) each is about who the client is."""


class TrustStoreError(Exception):
    """The certificates that are to be trusted cannot be read."""


def default_context() -> ssl.SSLContext:
    """Trust what httpx trusts: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, otherwise certifi. Takes about 10 ms.

    Raises:
      TrustStoreError: They cannot be read.
    """
    try:
        context = httpx.create_ssl_context()
    except OSError as exc:
        raise TrustStoreError(_trust_store_reason(exc)) from exc
    context.set_alpn_protocols(["http/1.1"])
    return context


def can_help_to_retry(error: ssl.SSLError) -> bool:
    """Whether trying again can help, because the handshake was cut off rather than refused by either side."""
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))


def tls_reason(error: ssl.SSLError) -> str:
    """Say why a handshake failed."""
    # Only the `ssl` module sets these two: contexts of other packages (truststore, pyOpenSSL) raise the classes alone.
    reason = str(getattr(error, "reason", None) or (error.args[-1] if error.args else type(error).__name__))
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate not trusted: {getattr(error, 'verify_message', None) or reason}"
    if can_help_to_retry(error):
        return "the server closed the connection in the TLS handshake"
    reason = reason.lower().replace("_", " ")
    if is_refusal(error):
        return f"the server refused the TLS connection, probably for the client's certificate: {reason}"
    return f"TLS handshake failed: {reason}"


def is_refusal(error: ssl.SSLError) -> bool:
    """Whether the server said, in a TLS alert, that it does not accept this client.

    In TLS 1.3 it says so after the client's part of the handshake is done, and the request may be on its way (RFC 8446,
    4.4.2.4). It has read none of it.
    """
    reason = str(getattr(error, "reason", None) or error).upper().replace(" ", "_")
    return "ALERT" in reason and any(word in reason for word in _REFUSALS)


def _trust_store_reason(exc: OSError) -> str:
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(variable)
        if path:
            reason = "it holds no certificates in PEM" if isinstance(exc, ssl.SSLError) else os_reason(exc)
            return f"{variable} is set to {path!r}, which cannot be read: {reason}"
    return os_reason(exc)
