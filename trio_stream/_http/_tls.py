"""What is trusted, and what a failed handshake means in words.

What belongs here: the TLS context and the sentences. What does not: the handshake itself (`_socket`).
"""

from __future__ import annotations

import ssl

from ._httpx import httpx


def default_context() -> ssl.SSLContext:
    """Trust what httpx trusts: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, otherwise certifi. Takes about 10 ms."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def can_help_to_retry(error: ssl.SSLError) -> bool:
    """Whether trying again can help, because the handshake was cut off rather than refused by either side."""
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))


def tls_reason(error: ssl.SSLError) -> str:
    """Say why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate not trusted: {error.verify_message or error.reason}"
    if can_help_to_retry(error):
        return "the server closed the connection in the TLS handshake"
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return f"TLS handshake failed: {reason}"
