"""The reference page, made from the schema: ``python -m crirm.config.reference > docs/configuration.md``."""

from __future__ import annotations

import sys
from typing import Final

import attrs

from crirm.config.describe import default_text, type_text
from crirm.config.nodes import MAX_BYTES, MAX_NODES
from crirm.config.option import Option, options_of
from crirm.config.policies import LATER
from crirm.config.schema import SECTIONS, Section
from crirm.policy.registry import POLICIES

_HEAD: Final = f"""\
# Configuration

<!-- Made by `python -m crirm.config.reference`; change the schema in crirm/config, not this page. -->

A configuration is one file (or ConfigMap) of sections with options. Whatever it does not say has its default, and an
empty file is all defaults. `configs/` has samples with comments.

```
crirm config check FILE                     what is wrong with FILE, by itself and on this machine
crirm config check FILE --host-root DIR     ... on the machine whose /sys and /proc are below DIR
crirm config check FILE --synthetic '2p.8c' ... on a made-up machine, see topology.md
crirm config print [FILE]                   what FILE amounts to, defaults included
crirm config help [SECTION ...]             sections and options
crirm config schema                         JSON Schema, for editors
```

`check` exits with 0 when the file can be used and with 1 when not; `--json` prints the findings for a program.

## Files

**TOML or YAML** (of which JSON is a part), told apart by their first line with content: a `[table]` or `key = value`
begins TOML. Both have the same sections and options:

```yaml
policy:
  Active: topology-aware
  ReservedResources:
    CPU: 750m
```

```toml
[policy]
Active = "topology-aware"
ReservedResources.CPU = "750m"
```

**Names of sections** may be nested or dotted, at any level: `policy: {{memtier: {{PinCPU: true}}}}`,
`policy.memtier: {{PinCPU: true}}` and `policy.memtier.PinCPU: true` are the same. Saying one thing in both ways is a
fault.

**A ConfigMap** has one entry for each section at the top, whose value is a text in YAML. `crirm config check` also
takes the manifest of a ConfigMap.

**Strict.** Sections, options and keys within options that do not exist are refused, with the nearest that does. So are
keys given twice, a text in the place of a boolean (`"true"`), bytes that are not UTF-8, more than
{MAX_BYTES // 1024} KiB, and more than {MAX_NODES} values (aliases written out). Names of sections and options must
match in case; keys within options, such as `cpu` in `AvailableResources`, need not. An option with nothing after its
colon has its default. All faults are told at once:

```
node.yaml: 2 faults
  there is no option 'PinCpu' (did you mean PinCPU?) @ $.policy.memtier.PinCpu (line 7)
  the text 'true' stands where true or false is due; write true without quotes @ $.policy.memtier.PinMemory (line 8)
```

**Files written for CRI Resource Manager** work as they are. Unquoted words of YAML mean what they meant there: `yes`,
`on` and `y` are booleans, `010` is eight, `12:30` is a text; a number in the place of a text is that text. Sections of
features that crirm does not have yet are read, kept, and named in one warning.

## CPUs

Where CPUs are to be said:

| written | means |
|---|---|
| `cpuset:0-3,8`, or `0-3,8` (with a dash or a comma) | these CPUs, in Linux list format |
| `750m`, `"2"`, `2`, `1.5` | so many CPUs, as a Kubernetes quantity or a number |
| `cgroup:DIR`, or `/DIR` | those of a cgroup: an absolute directory, or one below the mount of the hierarchy |

## Policies

| name | what it does |
|---|---|
"""


def page() -> str:
    """Return the whole page."""
    rows = [f"| `{one.name}` | {one.text} |\n" for one in POLICIES.values()]
    rows += [f"| `{name}` | {text} (comes in a later version) |\n" for name, text in LATER.items()]
    now = "".join(_section(section) for section in SECTIONS.values() if section.type is not None)
    rest = "".join(f"| `{section.name}` | {section.text} |\n" for section in SECTIONS.values() if section.type is None)
    return f"{_HEAD}{''.join(rows)}{now}\n## Sections without effect yet\n\n| section | about |\n|---|---|\n{rest}"


def _section(section: Section) -> str:
    first = next(one for one in SECTIONS.values() if one.type is section.type)
    if first is not section:
        return f"\n## `{section.name}`\n\n{section.text} They are those of `{first.name}`.\n"
    rows = [row for option in section.options for row in _rows(option, "")]
    return (
        f"\n## `{section.name}`\n\n{section.text}\n\n| option | type | default | |\n|---|---|---|---|\n{''.join(rows)}"
    )


def _rows(option: Option, above: str) -> list[str]:
    key = f"{above}{option.key}"
    default = default_text(option)
    shown = default if option.default is None else f"`{default}`"
    cells = (f"`{key}`", type_text(option.type), shown, option.text)
    row = " | ".join(cell.replace("|", r"\|") for cell in cells)
    inner = options_of(option.type) if attrs.has(option.type) else ()
    return [f"| {row} |\n", *(line for one in inner for line in _rows(one, f"{key}."))]


if __name__ == "__main__":
    sys.stdout.write(page())
