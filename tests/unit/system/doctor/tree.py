"""Made host trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.system.doctor import Finding, Host, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def make_host(root: Path, files: Mapping[str, str]) -> Host:
    """Write *files*, absolute name to content, below *root*; ``-> /x`` as content makes a symbolic link."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
    return Host(root)


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    """Check that every finding is made of single lines and that what is wrong has a remedy; return the verdicts."""
    findings = list(findings)
    for finding in findings:
        assert not any("\n" in part for part in (finding.check, finding.found, finding.where, finding.fix))
        assert bool(finding.fix) or finding.verdict in {Verdict.OK, Verdict.SKIPPED}, finding
    return [finding.verdict for finding in findings]
