"""What the Messages API refuses about images and documents.

What belongs here: their sources and settings. What does not: where such blocks may stand (`_strict`).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from trio_stream.testing._faults import Fault, Fields, check_choice, check_known, check_str, fields_of

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")

_SOURCES = {
    "image": {"base64": ("data", "media_type"), "url": ("url",), "file": ("file_id",)},
    "document": {
        "base64": ("data", "media_type"),
        "text": ("data", "media_type"),
        "content": ("content",),
        "url": ("url",),
        "file": ("file_id",),
    },
}
"""The fields of each kind of source. All are required, and there are no others."""


def check_source(block: Fields, path: str) -> None:
    """Check the source of an image or a document, if it says what kind it is."""
    kind = block["type"]
    source = fields_of(block["source"], f"{path}.{kind}.source")
    of = source.get("type")
    if of is None:
        return  # the rules are not a full schema: tests may leave out a source that does not matter
    kinds = _SOURCES[kind]
    if of not in kinds:
        tags = ", ".join(f"'{name}'" for name in kinds)
        raise Fault(f"{path}.{kind}.source", f"Input tag '{of}' does not match any of the expected tags: {tags}")
    place = f"{path}.{kind}.source.{of}"
    for name in kinds[of]:
        if name not in source:
            raise Fault(f"{place}.{name}", "Field required")
    check_known(source, {"type", *kinds[of]}, place)
    if of == "base64":
        media_types = _IMAGE_TYPES if kind == "image" else ("application/pdf",)
        check_choice(source["media_type"], media_types, f"{place}.media_type")
        _check_base64(source, place)
    elif of == "text":
        check_choice(source["media_type"], ("text/plain",), f"{place}.media_type")
        check_str(source["data"], f"{place}.data")
    elif of != "content":
        check_str(source[kinds[of][0]], f"{place}.{kinds[of][0]}")


def check_transformations(value: Any, path: str) -> None:
    """Check what the API is to do with an image."""
    if value is None:
        return
    wanted = fields_of(value, path)
    check_known(wanted, {"oversized_image"}, path)
    if "oversized_image" in wanted:
        check_choice(wanted["oversized_image"], ("downsize", "error"), f"{path}.oversized_image")


def _check_base64(source: Fields, place: str) -> None:
    data = source["data"]
    check_str(data, f"{place}.data")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Fault(f"{place}.data", "Invalid base64 data") from None
    if not content:
        raise Fault(f"{place}.data", "The file cannot be empty")
    said, found = source["media_type"], _image_type(content)
    if found is not None and found != said:
        what = f"The image was specified using the {said} media type, but the image appears to be a {found} image"
        raise Fault(f"{place}.data", what)


def _image_type(content: bytes) -> str | None:
    """The media type of an image by its first bytes, or None for anything else: a test may send no real image."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return None
