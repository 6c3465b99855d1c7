"""The request of a container, derived from its resources, its pod's annotations and the options.

CPUs, the first rule that applies:

0. a DRA driver has given it CPUs: exactly these, whatever else it requests (see `claimed`).
1. ``prefer-reserved-cpus`` says yes, or the namespace is a reserved one and it does not say no: reserved CPUs.
2. Burstable and BestEffort: shared CPUs.
3. Guaranteed, by whole CPUs and the rest; *isolated* means "if there are any", else exclusive CPUs are ordinary ones:

===========  ============================================================================================
request      gets
===========  ============================================================================================
0 + rest     shared
1 + rest     shared where that is preferred (pod or options); else 1 exclusive and the rest shared
1            shared where the pod prefers that; else 1 exclusive
2… + rest    shared, unless the pod says it does not prefer that; then whole ones exclusive and the rest shared
2…           shared where the pod prefers that; else exclusive
===========  ============================================================================================

One exclusive CPU is an isolated one where that is preferred (pod or options), several only where the pod says so. A
pod that requires isolated ones (``require-isolated-cpus``) prefers them, and exclusive ones to shared ones; the
container is refused if it gets no exclusive CPUs by these rules, or if there are too few isolated ones.

With ``hide-hyperthreads`` every exclusive CPU takes a whole core; the container runs on its lowest thread.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from crirm.model.claims import CPUClaim
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.resources import Requirements, millicpu_to_shares
from crirm.model.workload import ContainerKey, TopologyHint
from crirm.policy.topology_aware.memory_sets import Kinds
from crirm.policy.topology_aware.modes import Mode
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.preferences import Preferences


class CPUClass(enum.Enum):
    """Which CPUs a container runs on."""

    NORMAL = "normal"
    RESERVED = "reserved"


@attrs.frozen
class CPURequest:
    """CPUs that are wanted.

    Args:
        cls: of which class.
        full: how many exclusive CPUs.
        part: how much of shared (or reserved) ones, in thousandths of a CPU.
        isolate: whether exclusive CPUs had better be kernel-isolated ones.
        shares: the weight that goes with the whole request.
        require: whether exclusive CPUs have to be kernel-isolated ones.
        threads: how many CPUs each exclusive one takes: all of a core where the other threads are to stay idle.
    """

    cls: CPUClass
    full: int
    part: int
    isolate: bool
    shares: int
    require: bool = False
    threads: int = 1

    @property
    def taken(self) -> int:
        """How many CPUs become exclusive, those that stay idle included."""
        return self.full * self.threads

    @property
    def shared(self) -> bool:
        """Whether the container runs on CPUs together with others."""
        return self.cls is CPUClass.RESERVED or self.part > 0 or not self.full


@attrs.frozen
class MemoryRequest:
    """Memory that is wanted; see `protection` for need and use.

    Args:
        kinds: of which kinds.
        need: bytes.
        use: bytes.
        cold: the kinds to start on, None where it does not start cold.
        cold_s: seconds to stay on these after the start.
    """

    kinds: Kinds
    need: int
    use: int
    cold: Kinds = None
    cold_s: float = 0

    @property
    def first_kinds(self) -> Kinds:
        """The kinds that the container starts on."""
        return self.kinds if self.cold is None else self.cold


@attrs.frozen
class WholePod:
    """What counts of the pod of a container, where a pool is chosen for pods; see `pods`.

    Args:
        members: its other containers.
        cpu: all CPUs that it requests; None where the kubelet tells no sum.
        need: bytes of memory that it was promised.
    """

    members: frozenset[ContainerKey]
    cpu: CPURequest | None = None
    need: int = 0


@attrs.frozen
class Request:
    """The whole request of a container, with preferences.

    Args:
        key: the container.
        name: for people.
        cpu: CPUs.
        memory: memory.
        at_root: whether only the root pool comes into question.
        hints: where things are that it uses.
        strict: whether only a pool comes into question that is next to all of these.
        affinities: how much each other container attracts it, negative for "repels".
        mode: which of equally good pools it gets.
        notes: on what could not be heeded.
        dra: claims of a DRA driver, to run on exactly these.
        pod: what counts of its pod; None where a pool is chosen for each container.
    """

    key: ContainerKey
    name: str
    cpu: CPURequest
    memory: MemoryRequest
    at_root: bool = False
    hints: tuple[TopologyHint, ...] = ()
    strict: bool = False
    affinities: Mapping[ContainerKey, int] = attrs.field(factory=dict)
    mode: Mode = Mode.SPREAD
    notes: tuple[str, ...] = ()
    dra: tuple[CPUClaim, ...] = ()
    pod: WholePod | None = None


def cpu_request(
    qos: QoSClass,
    requirements: Requirements,
    preferences: Preferences,
    options: TopologyAwareOptions,
    *,
    reserved_namespace: bool,
) -> CPURequest:
    """Return the CPUs that a container gets; the module has the rules."""
    request = requirements.cpu_request
    shares = millicpu_to_shares(MilliCPU(request + requirements.unpromised_cpu))
    reserved = preferences.reserved
    if reserved or (reserved is None and reserved_namespace):
        return CPURequest(CPUClass.RESERVED, 0, request, isolate=False, shares=shares)
    full, part = divmod(request, 1000)
    if qos is not QoSClass.GUARANTEED or not full or _all_shared(full, part, preferences, options):
        return CPURequest(CPUClass.NORMAL, 0, request, isolate=False, shares=shares)
    default = options.prefer_isolated_cpus and full == 1
    isolate = default if preferences.isolated is None else preferences.isolated
    required = preferences.require_isolated
    return CPURequest(CPUClass.NORMAL, full, part, isolate or required, shares, required)


def _all_shared(full: int, part: int, preferences: Preferences, options: TopologyAwareOptions) -> bool:
    if not part or preferences.require_isolated:
        return preferences.shared is True
    if full > 1:
        return preferences.shared is not False
    return options.prefer_shared_cpus if preferences.shared is None else preferences.shared


def memory_amounts(qos: QoSClass, requirements: Requirements) -> tuple[int, int]:
    """Return need and use of a container's memory in bytes; see `protection`."""
    match qos:
        case QoSClass.GUARANTEED:
            limit = requirements.memory_limit or requirements.memory_request
            return limit, limit
        case QoSClass.BURSTABLE:
            request = requirements.memory_request
            return request, max(request, requirements.memory_limit or 0)
        case QoSClass.BEST_EFFORT:
            return 0, 0
