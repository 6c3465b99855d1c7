"""Pods as a whole (``PlacementScope: pod``): the first container chooses a pool for all, the others follow it.

The kubelet tells the sum of a pod's requests with its sandbox (``linux.resources``): of pod-level resources, or of the
containers that run at the same time, or of the largest init container if that is more. So an init container does not
take a NUMA node in which the main one finds no room (kubernetes issue 123816).

* While no container of the pod has a place, a pool that has room for the whole pod comes before one that has not.
  Nothing is kept for those to come: what others take meanwhile, they have to do without.
* Afterwards a pool with containers of the pod comes before one without, while it can hold the container. Whoever has a
  place stays there, restartable init containers (sidecars) among them.

With the scope ``container`` neither the sum nor the other containers of the pod count: pods of several containers that
fit no single NUMA node would otherwise all go to the larger pools, and small ones be less evenly spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from crirm.model.quantity import Bytes
from crirm.model.resources import estimate
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.preferences import Preferences
from crirm.policy.topology_aware.ranking import Rule
from crirm.policy.topology_aware.request import WholePod, cpu_request, memory_amounts
from crirm.policy.topology_aware.supply import Supply


def whole_pod(container: Container, workload: Workload, wanted: Preferences, options: TopologyAwareOptions) -> WholePod:
    """Return what counts of the pod of *container*, for which *wanted* says what its pod prefers."""
    pod = workload.pod_of(container)
    others = workload.containers.values()
    members = frozenset(one.key for one in others if one.pod == pod.id and one.key != container.key)
    if pod.resources is None:
        return WholePod(members)
    asked = estimate(pod.resources, pod.qos, Bytes(0))
    cpu = cpu_request(pod.qos, asked, attrs.evolve(wanted, reserved=False), options, reserved_namespace=False)
    return WholePod(members, cpu, memory_amounts(pod.qos, asked)[0])


def of_pod(
    whole: WholePod,
    pool: int,
    pool_of: Mapping[ContainerKey, int],
    supply: Supply,
    promisable: Callable[[int], int],
) -> tuple[Rule, int] | None:
    """Return the rule about the whole pod that applies, and the value of a pool under it; None if none does.

    Args:
        whole: the pod.
        pool: number of the pool.
        pool_of: the pool of each container.
        supply: what the pools have left.
        promisable: returns how many bytes of a pool can be promised.
    """
    pools = [pool_of[key] for key in whole.members if key in pool_of]
    if pools:
        return Rule.POD_MEMBERS, pools.count(pool)
    if whole.cpu is None:
        return None
    return Rule.POD_FITS, supply.holds(pool, whole.cpu) and (not whole.need or whole.need <= promisable(pool))
