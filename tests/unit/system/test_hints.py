from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crirm.cri.decode import Place
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.workload import TopologyHint
from crirm.system.hints import DeviceNumber, device_of, hints_of

if TYPE_CHECKING:
    from pathlib import Path

PCI = "sys/devices/pci0000:00/0000:00:1f.0"


class Host:
    """A made ``/sys`` with CPUs 0-7 on NUMA nodes 0 and 1, node 2 without CPUs, and devices to order."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.devices: dict[str, DeviceNumber] = {}
        self.put("sys/devices/system/cpu/online", "0-7")
        for node, cpus in enumerate(("0-3", "4-7", "")):
            self.put(f"sys/devices/system/node/node{node}/cpulist", cpus)

    def put(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")

    def link(self, path: str, target: str) -> None:
        """Make a relative link, as all in ``/sys`` are."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        file.symlink_to(os.path.relpath(self.root / target, file.parent))

    def device(self, path: str, device: str, kind: str = "block") -> None:
        """Let *path* be on (or be) the device in the directory *device*."""
        number = DeviceNumber(kind, 8, len(self.devices))
        self.devices[path] = number
        self.link(f"sys/dev/{kind}/8:{number.minor}", device)

    def hints(self, *places: Place) -> tuple[TopologyHint, ...]:
        return hints_of(places, host_root=self.root, find_device=lambda _, path: self.devices.get(path))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def mount(path: str, inside: str = "/data", *, writable: bool = True) -> Place:
    return Place(path, inside, writable, device=False)


def near(provider: str, cpus: str = "", node: int | None = None) -> TopologyHint:
    return TopologyHint(
        f"/{provider}", CPUSet.parse(cpus) if cpus else None, None if node is None else NodeSet.of(node)
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({PCI: ("4-7", "1")}, near(PCI, "4-7", 1), id="CPUs and NUMA node"),
        pytest.param({PCI: ("4-7", None)}, near(PCI, "4-7"), id="CPUs only"),
        pytest.param({PCI: (None, "1")}, near(PCI, node=1), id="a NUMA node only"),
        pytest.param({PCI: ("0-7", "-1")}, None, id="all CPUs and no NUMA node tell nothing"),
        pytest.param({PCI: ("0-7", "0")}, None, id="all CPUs tell nothing, whatever the node"),
        pytest.param({PCI: (None, "-1")}, None, id="no NUMA node tells nothing"),
        pytest.param({PCI: ("garbage", "x")}, None, id="what cannot be read tells nothing"),
        pytest.param({}, None, id="a device without a place"),
        pytest.param(
            {f"{PCI}/ata1": ("0-3", "0"), PCI: ("4-7", "1")}, near(f"{PCI}/ata1", "0-3", 0), id="the nearest directory"
        ),
        pytest.param({f"{PCI}/ata1": (None, "-1"), PCI: ("4-7", "1")}, near(PCI, "4-7", 1), id="-1 is passed over"),
        pytest.param(
            {f"{PCI}/ata1": ("", "2"), PCI: ("4-7", "1")},
            near(PCI, "4-7", 1),
            id="broken firmware: a NUMA node without CPUs, the parent knows better",
        ),
        pytest.param(
            {f"{PCI}/ata1": (None, "2"), PCI: ("0-7", "-1")},
            TopologyHint(f"/{PCI}/ata1", packages=frozenset({2})),
            id="broken firmware: a NUMA node without CPUs is a package where nobody knows better",
        ),
        pytest.param(
            {PCI: (None, "5")},
            TopologyHint(f"/{PCI}", packages=frozenset({5})),
            id="broken firmware: a NUMA node that is not there",
        ),
    ],
)
def test_climbing(host: Host, files: dict[str, tuple[str | None, str | None]], expected: TopologyHint | None) -> None:
    host.device("/data", f"{PCI}/ata1/block/sda/sda1")
    for folder, (cpus, node) in files.items():
        for name, content in (("local_cpulist", cpus), ("numa_node", node)):
            if content is not None:
                host.put(f"{folder}/{name}", content)
    assert host.hints(mount("/data")) == (() if expected is None else (expected,))


def pci(host: Host, number: int, node: int) -> str:
    """Make a PCI device on a NUMA node."""
    device = f"sys/devices/pci0000:00/0000:00:0{number}.0"
    host.put(f"{device}/local_cpulist", ("0-3", "4-7")[node])
    host.put(f"{device}/numa_node", str(node))
    return device


def test_a_logical_volume_is_where_its_disks_are(host: Host) -> None:
    one, two = pci(host, 1, 0), pci(host, 2, 1)
    host.device("/lv", "sys/devices/virtual/block/dm-0")
    host.link("sys/devices/virtual/block/dm-0/slaves/md0", "sys/devices/virtual/block/md0")
    host.link("sys/devices/virtual/block/md0/slaves/sda", f"{one}/block/sda")
    host.link("sys/devices/virtual/block/md0/slaves/sdb", f"{two}/block/sdb")
    host.link("sys/devices/virtual/block/md0/slaves/dm-0", "sys/devices/virtual/block/dm-0")  # a loop ends
    assert host.hints(mount("/lv")) == (near(one, "0-3", 0), near(two, "4-7", 1))


def test_a_vfio_group_is_where_its_devices_are(host: Host) -> None:
    one, two = pci(host, 1, 1), pci(host, 2, 1)
    host.device("/dev/vfio/42", "sys/devices/virtual/vfio/42", kind="char")
    host.link("sys/kernel/iommu_groups/42/devices/0000:00:01.0", one)
    host.link("sys/kernel/iommu_groups/42/devices/0000:00:02.0", two)
    assert host.hints(Place("/dev/vfio/42", "/dev/vfio/42", writable=True, device=True)) == (
        near(one, "4-7", 1),
        near(two, "4-7", 1),
    )


def test_an_nvme_disk_with_several_paths_is_where_its_controllers_are(host: Host) -> None:
    one, two = pci(host, 1, 0), pci(host, 2, 1)
    subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    host.device("/data", f"{subsystem}/nvme0n1")
    host.link(f"{subsystem}/nvme0", f"{one}/nvme/nvme0")
    host.link(f"{subsystem}/nvme1", f"{two}/nvme/nvme1")
    host.link(f"{subsystem}/subsystem", "sys/class/nvme-subsystem")
    assert host.hints(mount("/data")) == (near(one, "0-3", 0), near(two, "4-7", 1))


def test_every_place_on_the_machine_counts_once(host: Host) -> None:
    one, two = pci(host, 1, 0), pci(host, 2, 1)
    host.device("/a", f"{one}/block/sda/sda1")
    host.device("/b", f"{one}/block/sda/sda2")
    host.device("/c", f"{two}/block/sdb")
    places = mount("/c"), mount("/a"), mount("/b"), mount("/a", "/again")
    assert host.hints(*places) == (near(two, "4-7", 1), near(one, "0-3", 0))


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        pytest.param(mount("/data"), True, id="a mount"),
        pytest.param(mount("/data", writable=False), False, id="a read-only mount"),
        pytest.param(Place("/dev/sdx", "/dev/sdx", writable=True, device=True), True, id="a device"),
        pytest.param(Place("/dev/sdx", "/dev/sdx", writable=False, device=True), False, id="a read-only device"),
        pytest.param(mount("", "/data"), False, id="a mount of an image, which has no path"),
        pytest.param(mount("/var/lib/x/data", "/etc/hosts"), False, id="the hosts file of a pod"),
        pytest.param(mount("/etc/ssl"), False, id="a file of the host's configuration"),
        pytest.param(mount("/etcetera"), True, id="a name that only begins alike"),
        pytest.param(mount("/var/x", "/dev/termination-log"), False, id="the termination log"),
        pytest.param(mount("/usr/lib/modules"), False, id="a library"),
        pytest.param(mount("/var/x", "/.cri-resmgr"), False, id="the original's own files"),
        pytest.param(
            mount("/var/lib/kubelet/pods/1f-2a/volumes/kubernetes.io~configmap/settings"), False, id="a ConfigMap"
        ),
        pytest.param(mount("/data/kubelet/pods/1f-2a/volumes/kubernetes.io~secret/key"), False, id="a Secret"),
        pytest.param(mount("/var/lib/kubelet/pods/1f-2a/volumes/kubernetes.io~empty-dir/x"), True, id="an emptyDir"),
    ],
)
def test_which_places_count(host: Host, place: Place, counts: bool) -> None:
    host.device(place.path, f"{pci(host, 1, 0)}/block/sda")
    assert counts is bool(host.hints(place))


def test_no_device_no_hint(host: Host) -> None:
    host.devices["/tmpfs"] = DeviceNumber("block", 0, 21)
    host.link("sys/dev/block/0:21", pci(host, 1, 0))
    host.devices["/gone"] = DeviceNumber("block", 7, 0)
    host.devices["/odd"] = DeviceNumber("block", 9, 0)
    host.link("sys/dev/block/9:0", "sys/elsewhere")
    assert host.hints(mount("/tmpfs"), mount("/gone"), mount("/odd"), mount("/missing")) == ()


def test_device_of_a_device_node() -> None:
    assert device_of("", "/dev/null") == DeviceNumber("char", 1, 3)


def test_device_of_any_other_file_is_that_of_its_file_system(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    expected = DeviceNumber("block", os.major(device), os.minor(device))
    (tmp_path / "host/var/data").mkdir(parents=True)
    assert device_of(f"{tmp_path}/host", "/var/data") == expected
    assert device_of("", f"{tmp_path}/host/var/../var/./data/") == expected


def test_device_of_what_is_not_there(tmp_path: Path) -> None:
    assert device_of(str(tmp_path), "/missing") is None
    assert device_of("", "/dev/null\0") is None


@pytest.mark.parametrize(
    ("target", "found"),
    [
        pytest.param("/dev/null", True, id="an absolute link starts at the host's root"),
        pytest.param("../dev/null", True, id="a relative link"),
        pytest.param("../../../../dev/null", True, id="nothing is above the root"),
        pytest.param("loop", False, id="a link to itself leads nowhere"),
        pytest.param("/proc", False, id="what only this machine's own root has"),
    ],
)
def test_links_are_the_hosts(tmp_path: Path, target: str, found: bool) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/null").touch()
    (tmp_path / "var").mkdir()
    (tmp_path / "var/loop").symlink_to(target)
    number = device_of(str(tmp_path), "/var/loop")
    assert found is (number is not None)
    assert number is None or number.kind == "block", "the host's file, not this machine's device"
