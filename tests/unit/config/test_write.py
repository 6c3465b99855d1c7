from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import HealthCheck, given, settings

from crirm.config.load import load
from crirm.config.write import dump, dump_plain

from .reading import loaded, parsed
from .strategies import configs, texts, values

if TYPE_CHECKING:
    from crirm.config.config import Config


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_what_is_written_reads_as_the_same(config: Config) -> None:
    text = dump(config)
    again = load(text.encode(), "written").config
    assert again == config
    assert dump(again) == text


@given(values)
def test_plain_values_are_written_as_they_are_read(value: Any) -> None:
    assert parsed(dump_plain({"x": value})) == {"x": value}


@given(texts)
def test_texts_stay_texts_for_other_readers_of_yaml(text: str) -> None:
    assert yaml.safe_load(dump_plain({"x": text})) == {"x": text}


def test_the_options_of_the_policy_that_decides_are_written_and_of_others_what_is_not_default() -> None:
    text = dump(loaded("policy: {Active: memtier, ReservedResources: {CPU: 1}, static: {RelaxedIsolation: true}}"))
    policy = yaml.safe_load(text)["policy"]
    assert policy["memtier"]["PinCPU"] is True
    kubelet = policy["static"].pop("CPUManagerPolicyOptions")
    assert set(kubelet.values()) == {False}
    assert policy["static"] == {"RelaxedIsolation": True, "Rdt": "auto"}
    assert "topology-aware" not in policy
