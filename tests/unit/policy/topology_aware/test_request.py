from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.preferences import Preferences
from crirm.policy.topology_aware.request import CPUClass, cpu_request, memory_amounts
from tests.unit.policy.topology_aware.support import GIB, requirements

GUARANTEED, BURSTABLE, BEST_EFFORT = QoSClass.GUARANTEED, QoSClass.BURSTABLE, QoSClass.BEST_EFFORT
PLAIN = TopologyAwareOptions()
SHARED = TopologyAwareOptions(prefer_shared_cpus=True)
ORDINARY = TopologyAwareOptions(prefer_isolated_cpus=False)
NOTHING = Preferences()


@pytest.mark.parametrize(
    ("cpu", "options", "preferences", "full", "part", "isolate"),
    [
        pytest.param(500, PLAIN, NOTHING, 0, 500, False, id="less than one CPU is shared"),
        pytest.param(500, PLAIN, Preferences(isolated=True, shared=False), 0, 500, False, id="whatever is preferred"),
        pytest.param(1000, PLAIN, NOTHING, 1, 0, True, id="one CPU is exclusive, by default an isolated one"),
        pytest.param(1000, ORDINARY, NOTHING, 1, 0, False, id="not isolated by configuration"),
        pytest.param(1000, PLAIN, Preferences(isolated=False), 1, 0, False, id="not isolated by annotation"),
        pytest.param(1000, ORDINARY, Preferences(isolated=True), 1, 0, True, id="isolated by annotation"),
        pytest.param(1000, SHARED, NOTHING, 1, 0, True, id="one whole CPU is not shared by configuration"),
        pytest.param(1000, PLAIN, Preferences(shared=True), 0, 1000, False, id="but by annotation"),
        pytest.param(1500, PLAIN, NOTHING, 1, 500, True, id="one CPU and a part is mixed"),
        pytest.param(1500, SHARED, NOTHING, 0, 1500, False, id="shared by configuration"),
        pytest.param(1500, PLAIN, Preferences(shared=True), 0, 1500, False, id="shared by annotation"),
        pytest.param(1500, SHARED, Preferences(shared=False), 1, 500, True, id="annotation before configuration"),
        pytest.param(1500, PLAIN, Preferences(isolated=False), 1, 500, False, id="mixed, not isolated"),
        pytest.param(2000, PLAIN, NOTHING, 2, 0, False, id="several are exclusive and not isolated"),
        pytest.param(2000, SHARED, NOTHING, 2, 0, False, id="whatever the configuration says"),
        pytest.param(2000, PLAIN, Preferences(isolated=True), 2, 0, True, id="several isolated by annotation"),
        pytest.param(2000, PLAIN, Preferences(shared=True), 0, 2000, False, id="several shared by annotation"),
        pytest.param(2500, PLAIN, NOTHING, 0, 2500, False, id="several and a part are shared"),
        pytest.param(
            2500, PLAIN, Preferences(isolated=True), 0, 2500, False, id="isolation alone does not change that"
        ),
        pytest.param(2500, PLAIN, Preferences(shared=False), 2, 500, False, id="mixed by annotation"),
        pytest.param(2500, PLAIN, Preferences(shared=False, isolated=True), 2, 500, True, id="mixed and isolated"),
    ],
)
def test_guaranteed(
    cpu: int, options: TopologyAwareOptions, preferences: Preferences, full: int, part: int, isolate: bool
) -> None:
    asked = cpu_request(GUARANTEED, requirements(GUARANTEED, cpu), preferences, options, reserved_namespace=False)
    assert (asked.cls, asked.full, asked.part, asked.isolate) == (CPUClass.NORMAL, full, part, isolate)


@pytest.mark.parametrize(
    ("qos", "cpu", "reserved_namespace", "preferences", "expected"),
    [
        pytest.param(BURSTABLE, 3000, False, NOTHING, (CPUClass.NORMAL, 0, 3000), id="Burstable is shared"),
        pytest.param(BURSTABLE, 3000, False, Preferences(shared=False), (CPUClass.NORMAL, 0, 3000), id="always"),
        pytest.param(BEST_EFFORT, 0, False, NOTHING, (CPUClass.NORMAL, 0, 0), id="BestEffort is shared"),
        pytest.param(GUARANTEED, 2000, True, NOTHING, (CPUClass.RESERVED, 0, 2000), id="reserved CPUs are shared"),
        pytest.param(BURSTABLE, 200, True, NOTHING, (CPUClass.RESERVED, 0, 200), id="reserved by namespace"),
        pytest.param(GUARANTEED, 2000, True, Preferences(reserved=False), (CPUClass.NORMAL, 2, 0), id="opted out"),
        pytest.param(BEST_EFFORT, 0, False, Preferences(reserved=True), (CPUClass.RESERVED, 0, 0), id="opted in"),
    ],
)
def test_classes(
    qos: QoSClass,
    cpu: int,
    reserved_namespace: bool,
    preferences: Preferences,
    expected: tuple[CPUClass, int, int],
) -> None:
    asked = cpu_request(qos, requirements(qos, cpu), preferences, PLAIN, reserved_namespace=reserved_namespace)
    assert expected == (asked.cls, asked.full, asked.part)


@pytest.mark.parametrize(
    ("qos", "cpu", "shares"),
    [
        pytest.param(GUARANTEED, 4000, 4096, id="exclusive CPUs have their weight"),
        pytest.param(GUARANTEED, 1500, 1536, id="mixed ones the whole"),
        pytest.param(BURSTABLE, 250, 256, id="shared ones that of the request"),
        pytest.param(BEST_EFFORT, 0, 2, id="none the least"),
    ],
)
def test_weight(qos: QoSClass, cpu: int, shares: int) -> None:
    assert shares == cpu_request(qos, requirements(qos, cpu), NOTHING, PLAIN, reserved_namespace=False).shares


@pytest.mark.parametrize(
    ("qos", "memory", "limit", "expected"),
    [
        pytest.param(GUARANTEED, 2, None, (2, 2), id="a Guaranteed container needs its limit"),
        pytest.param(GUARANTEED, 0, None, (0, 0), id="without a limit nothing is known"),
        pytest.param(BURSTABLE, 1, 3, (1, 3), id="a Burstable one needs its request and may use its limit"),
        pytest.param(BURSTABLE, 1, None, (1, 1), id="without a limit its request counts"),
        pytest.param(BURSTABLE, 0, 3, (0, 3), id="without a request its limit counts"),
        pytest.param(BEST_EFFORT, 0, None, (0, 0), id="BestEffort needs nothing"),
    ],
)
def test_memory_amounts(qos: QoSClass, memory: int, limit: int | None, expected: tuple[int, int]) -> None:
    assert tuple(amount * GIB for amount in expected) == memory_amounts(qos, requirements(qos, 100, memory, limit))
