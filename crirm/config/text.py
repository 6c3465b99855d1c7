"""From the bytes of a configuration file to a document, in YAML or TOML."""

from __future__ import annotations

import re
from typing import Final

from crirm.config.faults import Fault
from crirm.config.nodes import MAX_BYTES, Document
from crirm.config.toml_text import parse_toml
from crirm.config.yaml_text import parse_yaml

_KEY: Final = r"""(?:"[^"\n]*+"|'[^'\n]*+'|[A-Za-z0-9_.-]++)\s*+"""
_TOML: Final = re.compile(rf"\s*+(?:\[{{1,2}}\s*+(?:{_KEY}\.?\s*+)+\]|(?:{_KEY}\.?\s*+)+=)")
# Neither language has these, nor U+FEFF other than at the very beginning.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def parse(data: bytes, faults: list[Fault]) -> Document:
    """Parse *data*, TOML or YAML (which includes JSON); *faults* gets what is wrong."""
    text = decoded(data, faults)
    if text is None:
        return Document(None)
    return parse_toml(text, faults) if is_toml(text) else parse_yaml(text, faults)


def is_toml(text: str) -> bool:
    """Return whether *text* is TOML: its first line with content is a table header or an assignment."""
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return _TOML.match(first) is not None


def decoded(data: bytes, faults: list[Fault]) -> str | None:
    """Return *data* as text, or None after adding the reason to *faults*."""
    if len(data) > MAX_BYTES:
        faults.append(Fault(f"is larger than {MAX_BYTES // 1024} KiB"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(Fault(f"is not UTF-8: invalid byte {error.object[error.start]:#04x}", line=line))
        return None
    wrong = _CONTROL.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        faults.append(Fault(f"contains the control character U+{ord(wrong.group()):04X}; remove it", line=line))
        return None
    return text
