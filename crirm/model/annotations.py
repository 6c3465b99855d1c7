"""The annotations of a pod that crirm keeps: only those that it reads, and only up to a limit.

Annotations come in any number and length, and what crirm knows about a pod is in memory, in the saved state and in
traces as long as the pod lives. The runtime gets all of them, since requests pass as bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.model.resources_annotation import ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE: Final = "cri-resource-manager.intel.com"
"""Part of the name of every annotation that a policy reads."""
MOST_CHARS: Final = 256 * 1024
"""Of all names and values together.

Source: Kubernetes apimachinery, TotalAnnotationSizeLimitB, which no pod of an API server exceeds.
"""


def kept(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the *annotations* that crirm reads, up to the total size that Kubernetes allows."""
    found: dict[str, str] = {}
    left = MOST_CHARS
    for key, value in annotations.items():
        if NAMESPACE in key or key == ANNOTATION:
            left -= len(key) + len(value)
            if left >= 0:
                found[key] = value
    return found
