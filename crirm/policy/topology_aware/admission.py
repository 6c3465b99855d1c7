"""Checks before any pool is considered: whether the machine as a whole has what a container requests."""

from __future__ import annotations

import attrs

from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.protection import Claim, shortage
from crirm.policy.topology_aware.request import CPUClass, MemoryRequest, Request
from crirm.policy.topology_aware.state import PolicyState
from crirm.policy.topology_aware.wording import kinds_text, size_text


def admit(machine: Machine, state: PolicyState, request: Request) -> Request:
    """Return *request* as far as the machine can meet it, with notes on what it cannot.

    Raises:
        RefusedError: there is not enough memory for all guarantees.
    """
    return _with_memory(machine, state, _with_reserved(machine, state, request))


def _with_reserved(machine: Machine, state: PolicyState, request: Request) -> Request:
    left = MilliCPU(1000 * len(machine.root.reserved) - state.reserved)
    if request.cpu.cls is not CPUClass.RESERVED or request.cpu.part <= left:
        return request
    note = f"only {format_millicpu(left)} of the reserved CPUs is left, so it runs on shared CPUs; reserve more CPUs"
    return attrs.evolve(request, cpu=attrs.evolve(request.cpu, cls=CPUClass.NORMAL), notes=(*request.notes, note))


def _with_memory(machine: Machine, state: PolicyState, request: Request) -> Request:
    memory = request.memory
    missing = _shortage(machine, state, memory)
    if missing > 0 and memory.cold is not None:
        note = f"no cold start: {kinds_text(memory.cold)} memory is short by {size_text(missing)}"
        memory = attrs.evolve(memory, cold=None, cold_s=0)
        request = attrs.evolve(request, memory=memory, notes=(*request.notes, note))
        missing = _shortage(machine, state, memory)
    if missing > 0:
        msg = (
            f"{request.name} wants {size_text(memory.need)} of {kinds_text(memory.kinds)} memory, "
            f"which is {size_text(missing)} more than is left"
        )
        raise RefusedError(RefusalCode.TOO_LITTLE_MEMORY, msg)
    return request


def _shortage(machine: Machine, state: PolicyState, memory: MemoryRequest) -> int:
    if not memory.need or not machine.topology.memory_nodes:
        return 0
    # Independent of the pool: the last resort is the same for all pools.
    home = (machine.root.id, memory.first_kinds)
    claim = state.claims.get(home, Claim()).plus(memory.need, memory.use)
    return shortage(machine.sets, {**state.claims, home: claim})
