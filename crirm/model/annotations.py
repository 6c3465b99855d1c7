"""Which of a pod's annotations crirm keeps: those that it reads, which are few, and no more of them than can be read.

Annotations come in any number and length, and whatever is known of a pod lies in memory, in the stored state and in
traces for as long as the pod lives. The runtime gets them all: requests pass as bytes.
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
    """Return those of *annotations* that crirm reads, as far as Kubernetes allows so many."""
    found: dict[str, str] = {}
    left = MOST_CHARS
    for key, value in annotations.items():
        if NAMESPACE in key or key == ANNOTATION:
            left -= len(key) + len(value)
            if left >= 0:
                found[key] = value
    return found
