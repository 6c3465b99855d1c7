from __future__ import annotations

import json
from pathlib import Path

import pytest

from crirm.cri.proto.runtime import v1
from crirm.sim.call_base import CallBase
from crirm.sim.calls import Calls
from crirm.sim.faults import Faults
from crirm.sim.image_calls import ImageService
from crirm.sim.methods import Mapping, Memory, Methods, methods_of
from crirm.sim.node_calls import RuntimeService
from crirm.sim.settings import V1, V1ALPHA2, SimSettings
from crirm.sim.tokens import Tokens
from tests.unit.sim.nodes import Node

FACTS = json.loads((Path(__file__).parents[2] / "data" / "cri-v1-facts.json").read_text())
LAST_ALPHA_RELEASE = (1, 25)


def names(package: str) -> set[str]:
    node = Node()
    services = (
        RuntimeService(node.model, SimSettings(), Tokens(node.clock), package),
        ImageService(node.model, SimSettings()),
    )
    return {method.path for service in services for method in methods_of(service, package)}


def facts(newest: tuple[int, int] | None, package: str) -> set[str]:
    """Paths of the methods of every release up to *newest*; None: of all."""
    return {
        f"/{package}.{service}/{method}"
        for service, methods in FACTS["services"].items()
        for method, (_, _, _, since) in methods.items()
        if newest is None or (since[0].isdigit() and tuple(map(int, since.split("."))) <= newest)
    }


def test_every_method_of_v1_is_there() -> None:
    assert names(V1) == facts(None, V1)


def test_v1alpha2_has_the_methods_it_had_when_it_ended() -> None:
    assert names(V1ALPHA2) == facts(LAST_ALPHA_RELEASE, V1ALPHA2)


@pytest.mark.parametrize("service", [RuntimeService, ImageService])
def test_no_method_is_left_to_the_generated_base(service: type) -> None:
    base = v1.RuntimeServiceBase if issubclass(service, CallBase) else v1.ImageServiceBase
    handlers = [name for name in vars(base) if not name.startswith("_")]
    assert [name for name in handlers if getattr(service, name) is getattr(base, name)] == []


def test_answers_are_remembered_until_the_state_changes() -> None:
    node = Node()
    memory = Memory(node.model)
    assert memory.get("/M", b"") is None
    memory.put("/M", b"", b"answer")
    assert (memory.get("/M", b""), memory.get("/M", b"other")) == (b"answer", None)
    node.pod()
    assert memory.get("/M", b"") is None


def test_unknown_path_has_a_handler_that_refuses() -> None:
    node = Node()
    methods = Methods(node.model, Faults(), Calls())
    mapping = Mapping((m.path, methods.handler(m)) for m in methods_of(ImageService(node.model, SimSettings()), V1))
    assert mapping.get("/runtime.v1.ImageService/Nope") is not None
    assert "/runtime.v1.ImageService/Nope" not in mapping
