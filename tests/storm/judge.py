"""What must hold after a kill: on the disk, and in the next life of crirm."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from crirm.cli.control import ask
from crirm.cri.proto.runtime import v1
from crirm.daemon.state.stored import read
from crirm.model.cpuset import CPUSet
from crirm.policy.restore import revive
from crirm.system.store import Store
from crirm.system.store_file import FILE
from tests.conformance.cri import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crirm.model.decision import State
    from crirm.model.workload import Workload
    from tests.storm.callers import Held
    from tests.storm.machines import Machine

LIVE = {"creating", "created", "running"}
TOLD_WITHIN_S = 30.0


@attrs.frozen
class Kept:
    """The grants on the disk, by the uid of the pod: there is one container in each.

    Args:
        exclusive: CPUs that nobody else may run on, of those who have some.
        state: all of it.
    """

    exclusive: Mapping[str, CPUSet]
    state: State


def on_disk(machine: Machine) -> Kept:
    """Read the state that a dead crirm has left, without touching it, and check what must hold for any state."""
    with tempfile.TemporaryDirectory() as place:
        for file in machine.state.glob(f"{FILE}*"):
            assert "damaged" not in file.name, f"{file} was set aside"
            if not file.name.endswith("-shm"):
                shutil.copy2(file, place)
        Path(place).chmod(0o700)
        store = Store.open(place)
        saved, damaged = read(store.load())
        store.close()
        assert not list(Path(place).glob("*damaged*")), "the file is damaged"
    assert damaged == 0
    revived = revive(machine.policy, saved)
    assert not revived.moved, f"granted, but not on the disk: {revived.moved}"
    assert not revived.lost, f"granted, but not on the disk: {revived.lost}"
    exclusive = machine.policy.exclusive(revived.state.policy)
    check_invariants(revived.state, exclusive, machine.reserved)
    return Kept({_uid(revived.state.workload, key): cpus for key, cpus in exclusive.items()}, revived.state)


def check_invariants(state: State, exclusive: Mapping[Any, CPUSet], reserved: CPUSet) -> None:
    """Check what the core promises: exclusive CPUs have one owner and nobody else on them, and none is reserved."""
    owned = CPUSet()
    for key, cpus in exclusive.items():
        assert cpus.isdisjoint(reserved), f"{key} owns reserved CPUs"
        assert cpus.isdisjoint(owned), f"{key} and another own {cpus & owned}"
        owned |= cpus
        for other, adjustment in state.adjustments.items():
            on_them = (adjustment.cpus or CPUSet()) & cpus
            assert on_them == (cpus if other == key else CPUSet()), f"{other} on CPUs of {key}"


def check_acknowledged(kept: Kept, settled: Iterable[Held]) -> int:
    """Check that the disk has what callers were told; return how many CPUs of their own they have."""
    names = {_uid(kept.state.workload, key): adjustment for key, adjustment in kept.state.adjustments.items()}
    own = 0
    for each in settled:
        assert each.uid in names, f"{each} was acknowledged, and the disk knows nothing of it"
        if each.cpus < 1:
            assert each.uid not in kept.exclusive, each
            continue
        cpus = kept.exclusive.get(each.uid, CPUSet())
        assert len(cpus) == each.cpus, f"{each} has {cpus or 'nothing'} of its own on the disk"
        own += len(cpus)
    return own


def check_told(machine: Machine, kept: Kept) -> None:
    """Check that the runtime has what the disk says that it was told: nobody would tell it again."""
    containers = {_uid(kept.state.workload, key): adjustment for key, adjustment in kept.state.told.items()}
    for uid, container in runtimes_view(machine).items():
        told = containers.get(uid)
        if told is not None:
            assert machine.told(container) == told.cpus, f"{uid}: the runtime was told otherwise than {told.cpus}"


def check_life(machine: Machine, kept: Kept, held: Mapping[str, Held], gone: Iterable[str]) -> None:
    """Check that a crirm that has just started goes on where the dead one ended, and that the runtime hears of it."""
    told = live(machine)
    assert set(gone).isdisjoint(told), "what ended meanwhile still has something"
    wanted = {uid for uid, each in held.items() if not each.ending}
    listed = {uid: its for uid, its in runtimes_view(machine).items() if uid in wanted}
    assert listed.keys() <= told.keys(), f"the runtime has {listed.keys() - told.keys()}, crirm only {told}"
    for uid, each in held.items():
        assert uid in told or not each.settled, f"{each} was acknowledged, and is forgotten"
    owned = {uid: cpus for uid, cpus in kept.exclusive.items() if uid in told}
    for owner, cpus in owned.items():
        for uid, has in told.items():
            assert (has or CPUSet()) & cpus == (cpus if uid == owner else CPUSet()), f"{uid} on {cpus} of {owner}"
    try:
        wait_until(lambda: not untold(machine, listed), TOLD_WITHIN_S)
    except AssertionError:
        raise AssertionError(f"not told: {untold(machine, listed)} of {listed}") from None


def untold(machine: Machine, listed: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what crirm has decided and what the runtime has, where these are not the same."""
    decided = live(machine)
    pairs = {uid: (decided[uid], machine.enforced(its)) for uid, its in listed.items()}
    return {uid: (str(one), str(other)) for uid, (one, other) in pairs.items() if other not in {one, None}}


def live(machine: Machine) -> dict[str, CPUSet | None]:
    """Return the CPUs of every container that has some, as the living crirm says, by the uid of the pod."""
    containers = ask(machine.control, {"ask": "status"})["containers"]
    holding = [each for each in containers if each["state"] in LIVE]
    return {
        each["name"].split("/")[1]: None if each["cpus"] is None else CPUSet.parse(each["cpus"]) for each in holding
    }


def runtimes_view(machine: Machine) -> dict[str, str]:
    """Return the ids of the containers that the runtime has and that have not ended, by the uid of the pod."""
    ended = v1.ContainerState(v1.ContainerState.CONTAINER_EXITED)
    listed = machine.direct.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse).containers
    return {each.labels["storm"]: each.id for each in listed if each.state != ended}


def _uid(workload: Workload, key: Any) -> str:
    return workload.pods[workload.containers[key].pod].name
