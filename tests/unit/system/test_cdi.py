"""CDI files: which variables a device sets, and what is made of damaged files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from crirm.system.cdi import variables_of

if TYPE_CHECKING:
    from pathlib import Path

KIND = "dra.k8s.io/cpu"
DEVICE = f"{KIND}=claim-u1"


def spec(*devices: tuple[str, list[str]], kind: str = KIND, **more: Any) -> str:
    listed = [{"name": name, "containerEdits": {"env": env}} for name, env in devices]
    return json.dumps({"cdiVersion": "0.8.0", "kind": kind, "devices": listed, **more})


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_device_is_found_in_its_file(tmp_path: Path) -> None:
    write(tmp_path, "var/run/cdi/a.json", spec(("claim-u0", ["A=0"])))
    write(tmp_path, "var/run/cdi/b.json", spec(("claim-u1", ["A=1", "B=2"]), ("claim-u2", [])))
    assert variables_of((DEVICE,), tmp_path) == {DEVICE: ("A=1", "B=2")}


def test_a_file_in_run_counts_more_than_one_in_etc(tmp_path: Path) -> None:
    write(tmp_path, "etc/cdi/z.json", spec(("claim-u1", ["A=old"])))
    write(tmp_path, "var/run/cdi/a.json", spec(("claim-u1", ["A=new"])))
    assert variables_of((DEVICE,), tmp_path) == {DEVICE: ("A=new",)}


def test_what_holds_for_all_devices_of_a_file_holds_for_each(tmp_path: Path) -> None:
    write(tmp_path, "etc/cdi/a.json", spec(("claim-u1", ["A=1"]), containerEdits={"env": ["C=3"]}))
    assert variables_of((DEVICE,), tmp_path) == {DEVICE: ("A=1", "C=3")}


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_what_is_no_file_is_not_read_and_hides_no_other(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "var/run/cdi/b.json", spec(("claim-u1", ["A=1"])))
    other = tmp_path / "var/run/cdi/a.json"
    match kind:
        case "pipe":
            os.mkfifo(other)  # to open it would wait for a writer
        case "device":
            other.symlink_to("/dev/zero")
        case _:
            other.mkdir()
    assert variables_of((DEVICE,), tmp_path) == {DEVICE: ("A=1",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a.json", spec(("claim-u1", ["A=1"]), kind="other.io/cpu"), id="of another kind"),
        pytest.param("a.yaml", spec(("claim-u1", ["A=1"])), id="not JSON by its name"),
        pytest.param("a.json", spec(("claim-u1", ["A=1"]))[:-9], id="half written"),
        pytest.param("a.json", "[" * 100_000, id="nested too deeply"),
        pytest.param("a.json", '{"devices": {"name": "claim-u1"}}', id="of another shape"),
        pytest.param("a.json", '["kind"]', id="a list"),
        pytest.param("a.json", '{"kind": "dra.k8s.io/cpu", "devices": ["claim-u1"]}', id="names alone"),
    ],
)
def test_no_other_file_tells_a_device(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, f"var/run/cdi/{name}", text)
    assert variables_of((DEVICE,), tmp_path) == {}


@pytest.mark.parametrize("edits", ["x", {"env": "A=1"}, {"env": [1, None]}, None])
def test_damaged_edits_set_nothing(tmp_path: Path, edits: object) -> None:
    text = json.dumps({"kind": KIND, "devices": [{"name": "claim-u1", "containerEdits": edits}]})
    write(tmp_path, "var/run/cdi/a.json", text)
    assert variables_of((DEVICE,), tmp_path) == {DEVICE: ()}


def test_without_directories_nothing_is_found(tmp_path: Path) -> None:
    assert variables_of((DEVICE,), tmp_path) == {}
