"""Pods by hand, for the shell on an emulated server: ``python -m tests.vm.inside.pods``."""

from __future__ import annotations

import json
from typing import Any

import click

from crirm.cri.proto.runtime import v1
from crirm.model.qos import QoSClass
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import V1, CallError, Cri
from tests.vm.inside import kernel
from tests.vm.inside.facts import this_server
from tests.vm.inside.kubelet import Ask, Kubelet, Pod
from tests.vm.inside.node import FOLDER

_CLASSES = {"guaranteed": QoSClass.GUARANTEED, "burstable": QoSClass.BURSTABLE, "besteffort": QoSClass.BEST_EFFORT}


def _kubelet() -> Kubelet:
    server = this_server()
    return Kubelet(Cri(GrpcioClient(FOLDER / "relay.sock"), V1), systemd=server is not None and server.systemd)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run, list and remove pods through crirm."""


@main.command()
@click.argument("name")
@click.option("--cpu", multiple=True, default=("1",), help="Request of a container, such as 1500m; repeat for more.")
@click.option("--memory", default="32Mi", show_default=True, help="Memory limit of each container.")
@click.option("--qos", type=click.Choice(list(_CLASSES)), default="guaranteed", show_default=True)
@click.option("--namespace", default="default", show_default=True)
@click.option("--annotation", multiple=True, metavar="KEY=VALUE", help="Of the pod; may be repeated.")
def run(name: str, cpu: tuple[str, ...], memory: str, qos: str, namespace: str, annotation: tuple[str, ...]) -> None:
    """Run a pod NAME with a container c0, c1 ... for each --cpu."""
    annotations = dict(each.partition("=")[::2] for each in annotation)
    pod = _kubelet().pod(name, _CLASSES[qos], namespace=namespace, annotations=annotations)
    for index, each in enumerate(cpu):
        try:
            _say(f"{name}/c{index}", pod.run(f"c{index}", Ask(each, memory)).pid)
        except AssertionError as refused:
            raise click.ClickException(f"{name}/c{index}: {refused}") from None


@main.command("list")
def list_containers() -> None:
    """Show what the kernel lets each running container use."""
    kubelet = _kubelet()
    listed = kubelet.cri.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse)
    for item in listed.containers:
        request = v1.ContainerStatusRequest(container_id=item.id, verbose=True)
        status = kubelet.cri.call("ContainerStatus", request, v1.ContainerStatusResponse)
        info: dict[str, Any] = json.loads(status.info["info"])
        if info.get("pid"):
            _say(f"{item.labels.get('io.kubernetes.pod.name', '?')}/{item.metadata.name}", info["pid"])


@main.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the pod NAME."""
    kubelet = _kubelet()
    listed = kubelet.cri.call("ListPodSandbox", v1.ListPodSandboxRequest(), v1.ListPodSandboxResponse)
    found = [item for item in listed.items if item.metadata.name == name]
    if not found:
        raise click.ClickException(f"there is no pod {name}; `pods list` shows those that run")
    for item in found:
        try:
            Pod(kubelet.cri, item.id, v1.PodSandboxConfig(), guaranteed=False).remove()
        except CallError as fault:
            raise click.ClickException(str(fault)) from None


def _say(name: str, pid: int) -> None:
    click.echo(f"{name:20} CPUs {kernel.allowed_cpus(pid)!s:16} NUMA nodes {kernel.allowed_mems(pid)}")


if __name__ == "__main__":
    main()
