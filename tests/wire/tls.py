"""Certificates, good and bad, and whom a client trusts.

What belongs here: TLS contexts. What does not: serving (`server`).
"""

from __future__ import annotations

import datetime as dt
import ssl

import trustme


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def good_certificate(authority: trustme.CA) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 and localhost of this authority."""
    return server_tls(authority.issue_cert("127.0.0.1", "localhost"))


def demanding_certificate(authority: trustme.CA) -> ssl.SSLContext:
    """As `good_certificate`, for a server that wants one of the client too: TLS 1.3 tells it after the handshake."""
    context = good_certificate(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return context


def expired_certificate(authority: trustme.CA) -> ssl.SSLContext:
    """One that was good until yesterday."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    return server_tls(
        authority.issue_cert(
            "127.0.0.1", "localhost", not_before=yesterday - dt.timedelta(days=30), not_after=yesterday
        )
    )


def self_signed_certificate() -> ssl.SSLContext:
    """One of an authority that nobody trusts."""
    return server_tls(trustme.CA().issue_cert("127.0.0.1", "localhost"))
