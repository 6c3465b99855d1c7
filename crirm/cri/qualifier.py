"""Whom a request is about, as far as its own bytes tell: the name of a pod, of a container in it, or an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.cri.describe import text_of
from crirm.cri.schema import schema
from crirm.cri.wire import Field, walk

if TYPE_CHECKING:
    from crirm.cri.methods import Method

ID_CHARACTERS: Final = 13  # as many as crictl shows


def qualifier(method: Method, request: bytes) -> str:
    """Return ``pod``, ``pod:container``, the beginning of an id, or nothing.

    Args:
        method: what is called.
        request: the encoded request; what is missing or malformed in it is said in the answer.
    """
    match method.name:
        case "RunPodSandbox":
            return _named(request, method.request, "config", what="pod")
        case "CreateContainer":
            pod = _named(request, method.request, "sandbox_config", what="pod")
            return f"{pod}:{_named(request, method.request, 'config', what='container')}"
        case _:
            of = _text(request, method.request, "container_id") or _text(request, method.request, "pod_sandbox_id")
            return text_of(of[:ID_CHARACTERS]) if of else ""


def _named(request: bytes, message: str, config: str, *, what: str) -> str:
    name = _text(request, message, config, "metadata", "name")
    return text_of(name) if name else f"<missing {what} metadata in request>"


def _text(data: bytes, message: str, *path: str) -> str:
    """Return the string at *path*, field names from *message* inwards, or nothing."""
    for name in path:
        number, shape = next((item for item in schema(message).items() if item[1].name == name), (0, None))
        values = (part.value for part in walk(data) if isinstance(part, Field) and part.number == number)
        value = next((value for value in values if isinstance(value, bytes)), None)
        if shape is None or value is None:
            return ""
        data, message = value, shape.message
    return data.decode(errors="replace")
