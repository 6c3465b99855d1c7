from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crirm.cri import methods
from crirm.cri.methods import METHODS, MethodName, bridged, find, split
from crirm.cri.proto.runtime import v1

FACTS = json.loads((Path(__file__).parents[2] / "data" / "cri-v1-facts.json").read_text())


def test_the_table_is_that_of_cri() -> None:
    facts = {
        (service, name): (request, reply, streams)
        for service, rows in FACTS["services"].items()
        for name, (request, reply, streams, _since) in rows.items()
    }
    assert {key: (row.request, row.reply, row.streams) for key, row in METHODS.items()} == facts
    assert len(METHODS) == 43


def test_every_message_of_the_table_is_generated() -> None:
    assert {name for row in METHODS.values() for name in (row.request, row.reply) if not hasattr(v1, name)} == set()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(
            "/runtime.v1.RuntimeService/Version", MethodName("runtime.v1", "RuntimeService", "Version"), id="CRI"
        ),
        pytest.param("/grpc.health.v1.Health/Check", MethodName("grpc.health.v1", "Health", "Check"), id="another API"),
        pytest.param("/Health/Check", MethodName("", "Health", "Check"), id="no package"),
        pytest.param("/Check", MethodName("", "", "Check"), id="no service"),
        pytest.param("", MethodName("", "", ""), id="nothing"),
        pytest.param("//x//", MethodName("", "/x/", ""), id="nonsense is taken apart too"),
    ],
)
def test_paths_are_taken_apart(path: str, name: MethodName) -> None:
    assert split(path) == name


@pytest.mark.parametrize(
    ("path", "package", "expected"),
    [
        pytest.param(
            "/runtime.v1.ImageService/ListImages",
            methods.V1ALPHA2,
            "/runtime.v1alpha2.ImageService/ListImages",
            id="to the old version",
        ),
        pytest.param(
            "/runtime.v1alpha2.RuntimeService/NotYetKnown",
            methods.V1,
            "/runtime.v1.RuntimeService/NotYetKnown",
            id="to the new version, also what crirm does not know",
        ),
        pytest.param("/grpc.health.v1.Health/Check", methods.V1, "/grpc.health.v1.Health/Check", id="not another API"),
    ],
)
def test_a_call_changes_version_by_its_path(path: str, package: str, expected: str) -> None:
    assert bridged(path, package) == expected


def test_both_versions_have_the_same_methods_and_other_apis_have_none() -> None:
    version = METHODS["RuntimeService", "Version"]
    assert find("/runtime.v1.RuntimeService/Version") is version
    assert find("/runtime.v1alpha2.RuntimeService/Version") is version
    assert find("/other.RuntimeService/Version") is None
    assert find("/runtime.v1.RuntimeService/NotYetKnown") is None


def test_the_table_and_the_dump_rules_do_not_cost_the_generated_messages() -> None:
    code = (
        "import sys, crirm.cri.methods, crirm.cri.dump_rules, crirm.cri.describe; print('betterproto' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
