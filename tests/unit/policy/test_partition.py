from __future__ import annotations

import pytest

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import Partition, PartitionError, partition
from crirm.policy.priorities import priorities_of
from tests.unit.policy.topology_aware.support import reserve

N4C16 = "2p.2n.2c.2t threads=adjacent"


def split(host: str, available: str, reserved: str) -> Partition:
    topology = topology_of(parse_spec(host))
    constraints = Constraints(*(reserve(text) if text else CPUConstraint() for text in (available, reserved)))
    return partition(topology, constraints, CPUAllocator(topology, priorities_of(topology)))


@pytest.mark.parametrize(
    ("host", "available", "reserved", "sharable", "isolated", "taken"),
    [
        pytest.param(N4C16, "", "cpuset:0", "1-15", "", "0", id="all that is online is available"),
        pytest.param(N4C16, "cpuset:2-5", "cpuset:4", "2-3,5", "", "4", id="named CPUs"),
        pytest.param(N4C16, "", "0.75", "1-15", "", "0", id="a part of a CPU is a whole one"),
        pytest.param(N4C16, "", "2.25", "3-15", "", "0-2", id="2250m are the first three CPUs"),
        pytest.param(
            N4C16 + " isolated=8-9", "", "cpuset:0", "1-7,10-15", "8-9", "0", id="isolated CPUs are kept apart"
        ),
        pytest.param("1p.4c isolated=0-1", "", "1", "3", "0-1", "2", id="an amount is never taken from isolated CPUs"),
        pytest.param(N4C16 + " isolated=8-9", "cpuset:0-8", "1", "1-7", "8", "0", id="isolated and available"),
        pytest.param("2p.2c isolated=3", "", "1", "1-2", "3", "0", id="one CPU is the first that is not isolated"),
        pytest.param("2p.3c.2t", "", "3", "2-5,7-11", "", "0-1,6", id="whole cores first, exactly so many"),
        pytest.param("2p.3c.2t", "cpuset:1-11", "2", "2-5,7-11", "", "1,6", id="what is left of a core counts"),
        pytest.param("1p.4c", "exclude-cpuset:1", "1", "2-3", "", "0", id="all available but one"),
        pytest.param("1p.4c offline=3", "exclude-cpuset:1,3", "1", "2", "", "0", id="excluded and offline"),
        pytest.param("1p.6c isolated=5", "", "exclude-cpuset:0-3", "0-3", "5", "4", id="all reserved but these"),
        pytest.param(
            "1p.6c isolated=5", "cpuset:1-5", "exclude-cpuset:2-4", "2-4", "5", "1", id="of the available ones"
        ),
        pytest.param(
            N4C16 + " offline=1,15", "cpuset:0-2,15", "cpuset:0-1", "2", "", "0", id="offline ones are left out"
        ),
        pytest.param("1p.8c", "4", "1", "1-3", "", "0", id="an amount of available CPUs"),
        pytest.param("1p.8c", "4", "cpuset:7", "0-2", "", "7", id="reserved CPUs count among the available ones"),
        pytest.param("1p.4c isolated=0-1", "3", "1", "3", "0", "2", id="isolated CPUs are available last"),
    ],
)
def test_partition(host: str, available: str, reserved: str, sharable: str, isolated: str, taken: str) -> None:
    expected = Partition(CPUSet.parse(sharable), CPUSet.parse(isolated), CPUSet.parse(taken))
    assert expected == split(host, available, reserved)


@pytest.mark.parametrize(
    ("host", "available", "reserved", "message"),
    [
        pytest.param("1p.4c", "", "", "reserves no online CPU", id="reserved CPUs are a must"),
        pytest.param("1p.4c", "", "0", "reserves no online CPU", id="none are not enough"),
        pytest.param("1p.4c offline=3", "", "cpuset:3", "reserves no online CPU", id="reserved ones offline"),
        pytest.param("1p.4c", "cpuset:0-2", "cpuset:2-3", "CPUs 3 are outside", id="reserved outside available"),
        pytest.param("1p.4c", "cpuset:0-4", "1", "AvailableResources.CPU: this machine has no CPUs 4", id="too high"),
        pytest.param(
            "1p.4c", "", "cpuset:9", "ReservedResources.CPU: this machine has no CPUs 9", id="reserved too high"
        ),
        pytest.param("1p.4c isolated=2", "", "cpuset:2", "isolated by the kernel", id="reserved and isolated"),
        pytest.param("1p.4c isolated=2", "", "4", "needs 4 CPUs, but only 0-1,3", id="too many reserved"),
        pytest.param("1p.4c offline=1", "cpuset:1", "1", "names no online CPU", id="available ones offline"),
        pytest.param("1p.4c isolated=3", "", "3", r"\(0-2\) leaves no CPU for other containers", id="all reserved"),
        pytest.param("1p.4c", "0", "1", "names no online CPU", id="nothing available"),
        pytest.param("1p.4c", "exclude-cpuset:0-3", "1", "names no online CPU", id="all excluded"),
        pytest.param("1p.4c", "exclude-cpuset:4", "1", "this machine has no CPUs 4", id="excluded too high"),
        pytest.param("1p.4c", "", "exclude-cpuset:0-3", "reserves no online CPU", id="none reserved"),
        pytest.param("1p.4c", "5", "1", "needs 1 CPUs, but none can be used", id="more available than there are"),
        pytest.param("1p.4c", "1", "cpuset:0-1", "is fewer than the reserved CPUs", id="less available than reserved"),
    ],
)
def test_constraints_that_cannot_be(host: str, available: str, reserved: str, message: str) -> None:
    with pytest.raises(PartitionError, match=message):
        split(host, available, reserved)
