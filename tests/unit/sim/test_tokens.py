from __future__ import annotations

import pytest
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import ExecRequest
from crirm.sim.tokens import IN_FLIGHT, LIFE_NS, Tokens
from tests.unit.sim.nodes import Clock


def test_url_is_good_for_one_use() -> None:
    tokens, request = Tokens(Clock()), ExecRequest("c")
    tokens.base_url = "http://127.0.0.1:1"
    url = tokens.url("exec", request)
    base, _, token = url.rpartition("/")
    assert (base, len(token)) == ("http://127.0.0.1:1/exec", 8)
    assert tokens.take(token) is request
    assert tokens.take(token) is None


def test_url_is_good_for_a_minute() -> None:
    clock = Clock()
    tokens = Tokens(clock)
    token = tokens.url("exec", ExecRequest("c")).rpartition("/")[2]
    clock.now_ns += LIFE_NS
    assert tokens.take(token) is None


def test_number_of_urls_is_bounded() -> None:
    clock = Clock()
    tokens = Tokens(clock)
    for _ in range(IN_FLIGHT):
        tokens.url("exec", ExecRequest("c"))
    with pytest.raises(GRPCError) as caught:
        tokens.url("exec", ExecRequest("c"))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    clock.now_ns += LIFE_NS
    tokens.url("exec", ExecRequest("c"))
