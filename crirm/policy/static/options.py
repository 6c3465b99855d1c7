"""Options of the policy ``static``."""

from __future__ import annotations

from typing import Final

import attrs

from crirm.errors import CrirmError
from crirm.model.option import option


class OptionsError(CrirmError, ValueError):
    """Options of the kubelet's CPU manager exclude each other, or do not fit the machine."""


@attrs.frozen
class KubeletOptions:
    """The options of the kubelet's static CPU manager, by the kubelet's names.

    Source: ``cpuManagerPolicyOptions`` of the kubelet's configuration; KEP-2625, 2902, 3327, 4176, 4540, 4800.
    """

    full_pcpus_only: bool = option(
        "full-pcpus-only",
        "Whether exclusive CPUs are whole cores; requests that are not a multiple of the threads per core are refused.",
        default=False,
    )
    distribute_across_numa: bool = option(
        "distribute-cpus-across-numa",
        "Whether CPUs that one NUMA node cannot give are taken evenly from as few NUMA nodes as possible.",
        default=False,
    )
    distribute_across_cores: bool = option(
        "distribute-cpus-across-cores",
        "Whether exclusive CPUs are taken from as many cores as possible.",
        default=False,
    )
    align_by_socket: bool = option(
        "align-by-socket",
        "Whether exclusive CPUs are taken from as few packages as possible, wherever their NUMA nodes are.",
        default=False,
    )
    align_by_uncore_cache: bool = option(
        "prefer-align-cpus-by-uncorecache",
        "Whether exclusive CPUs are taken from as few L3 (uncore) caches as possible.",
        default=False,
    )
    strict_reservation: bool = option(
        "strict-cpu-reservation",
        "Whether no container runs on the reserved CPUs.",
        default=False,
    )

    @property
    def chooses(self) -> bool:
        """Whether any is set; which CPUs a container gets is then decided as the kubelet decides it."""
        return any(attrs.astuple(self))


_EXCLUSIVE: Final = (
    ("full_pcpus_only", "distribute_across_cores"),
    ("distribute_across_numa", "distribute_across_cores"),
    ("align_by_uncore_cache", "distribute_across_cores"),
    ("align_by_uncore_cache", "distribute_across_numa"),
)
"""Source: the pairs that the kubelet rejects (pkg/kubelet/cm/cpumanager/policy_options.go)."""


def check_kubelet_options(options: KubeletOptions) -> None:
    """Reject options that exclude each other, as the kubelet does.

    Raises:
        OptionsError: the first such pair.
    """
    keys = {field.name: field.metadata["key"] for field in attrs.fields(KubeletOptions)}
    for one, other in _EXCLUSIVE:
        if getattr(options, one) and getattr(options, other):
            msg = f"{keys[one]} and {keys[other]} exclude each other, as in the kubelet; set one of them to false"
            raise OptionsError(msg)


@attrs.frozen
class StaticOptions:
    """How the policy ``static`` assigns exclusive CPUs."""

    relaxed_isolation: bool = option(
        "RelaxedIsolation",
        "Whether to prefer kernel-isolated CPUs as exclusive CPUs, unless the pod says otherwise.",
        default=False,
    )
    rdt: str = option(
        "Rdt",
        "`auto`, `true` or `false`; accepted for compatibility, without effect.",
        default="auto",
    )
    kubelet: KubeletOptions = option(  # noqa: RUF009  # makes a field
        "CPUManagerPolicyOptions",
        "The options of the kubelet's static CPU manager, by its names; if any is true, CPUs are chosen as the kubelet "
        "chooses them.",
        default=KubeletOptions(),
        check=check_kubelet_options,
    )
