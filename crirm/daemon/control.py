"""The control socket: local requests about decisions and configuration, one line of JSON each way.

Mode 0600: answers show names and placement of containers, and requests can activate a configuration.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from crirm.daemon.configuration.shadow import shadow_answer
from crirm.errors import CrirmError, clipped
from crirm.logs import get_logger
from crirm.system.unix_socket import ListeningSocket, SocketOwner, open_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crirm.daemon.configuration.change import Proposal
    from crirm.daemon.configuration.in_force import Configurations
    from crirm.daemon.placement.defrag import Defrag
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.explained import Explained, Refused
    from crirm.daemon.state.recorder import Recorder
    from crirm.model.decision import Adjustment
    from crirm.model.workload import Container, ContainerKey

log = get_logger("control")

LONGEST_QUESTION_BYTES = 8 << 20  # a configuration of maximum size, with every character escaped
EXCHANGE_WITHIN_S = 10.0  # for the whole question, and for the whole answer
MOST_ANALYSED = 16  # containers in one answer
_FAULT = "internal error, a bug in crirm; see its log"


class QuestionError(CrirmError):
    """A request that cannot be answered."""


class Observed(Protocol):
    """The node, as far as answers need it."""

    engine: Engine
    recorder: Recorder

    @property
    def state_failure(self) -> str:
        """Why state cannot be saved now; empty if it can, or is not configured."""

    @property
    def findings(self) -> Sequence[str]:
        """Problems that an operator should fix, one sentence each."""

    def machine_status(self) -> dict[str, Any]:
        """Return the state of the machine."""

    def drift(self) -> Mapping[ContainerKey, str]:
        """Return the drift from the decision, in words, by container."""

    async def analysed(self, key: ContainerKey) -> dict[str, Any]:
        """Return what the kernel has of a container, as JSON."""


class Placing(Observed, Protocol):
    """A node that moves containers on request."""

    @property
    def defrag(self) -> Defrag:
        """What moves them."""


@contextmanager
def control_listener(path: str) -> Iterator[ListeningSocket]:
    """Listen on the control socket *path*, for this user only, and remove it at the end."""
    sock = open_listener(path, SocketOwner(uid=os.geteuid(), gid=os.getegid(), mode=0o600))
    try:
        yield sock
    finally:
        sock.remove_file()
        sock.close()


async def serve_control(sock: ListeningSocket, answers: Answers) -> None:
    """Answer questions on *sock* until cancelled."""
    plain = socket.socket(fileno=os.dup(sock.fileno()))  # Trio takes nothing but the class itself
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(plain))

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await _serve_one(stream, answers)
            except trio.BrokenResourceError:
                log.debug("client disconnected before the answer was sent")

    await trio.serve_listeners(serve, [listener])


async def _serve_one(stream: trio.SocketStream, answers: Answers) -> None:
    question = b""
    with trio.move_on_after(EXCHANGE_WITHIN_S):
        question = await _question(stream)
    if not question:
        return
    try:
        reply = await answers.answer(json.loads(question))  # no deadline: an activation runs to its end
    except (CrirmError, ValueError, RecursionError) as error:
        reply = {"error": str(error)}
    except Exception:
        log.exception("could not answer a question; this is a bug in crirm")
        reply = {"error": _FAULT}
    with trio.move_on_after(EXCHANGE_WITHIN_S):
        await stream.send_all(json.dumps(reply).encode() + b"\n")


async def _question(stream: trio.SocketStream) -> bytes:
    """Return one line; empty if there is none."""
    question = b""
    while not question.endswith(b"\n") and len(question) < LONGEST_QUESTION_BYTES:
        received = await stream.receive_some()
        if not received:
            return b""
        question += received
    return question


@attrs.frozen
class Answers:
    """Answers questions about a daemon, and carries out requests.

    Args:
        deciding: returns the deciding node; None while nothing is decided.
        configurations: the active configuration, and changes to it.
    """

    deciding: Callable[[], Placing | None]
    configurations: Configurations

    async def answer(self, question: Any) -> dict[str, Any]:  # noqa: C901, PLR0911 - one line per request
        """Answer one question.

        Args:
            question: ``{"ask": "status"}``, ``{"ask": "explain", "what": "namespace/pod/container or a part of it"}``,
                also with ``"analyze": true`` for what the kernel has,
                ``{"ask": "propose", "name": "file", "config": "text of a configuration"}`` or the same with
                ``activate``; ``{"ask": "record", "file": "where a trace begins, empty to end it"}``; ``{"ask":
                "shadow"}`` and what `shadow_answer` says; ``{"ask": "fits"}`` and what `policy.fitting.wish_of` says;
                what `defrag_answer` says.

        Raises:
            QuestionError: unknown request, or about something that does not exist.
            CrirmError: the configuration is invalid.
        """
        node = self.deciding()
        match question:
            case {"ask": "status"}:
                return {**status(node), "configuration": self.configurations.status()}
            case {"ask": "explain", "what": str(what)}:
                if node is None:
                    raise QuestionError(
                        "policy none assigns nothing, so there is nothing to explain; choose another policy"
                    )
                entries = explanations(what, node)
                if question.get("analyze") is True:
                    await analyse(entries, node)
                return {"explained": entries, "refused": refusals(what, node)}
            case {"ask": "propose", "name": str(name), "config": str(text)}:
                return proposal_record(*await self.configurations.proposed(name, text))
            case {"ask": "activate", "name": str(name), "config": str(text)}:
                return {"refused": await self.configurations.activate(name, text)}
            case {"ask": "record", "file": str(file)}:
                return await recorded(file, node)
            case {"ask": "fits"}:
                return await fits_answer(question, node)
            case {"ask": "shadow"}:
                return await shadow_answer(question, self.configurations)
            case {"ask": "defrag" | "defrag-apply" | "defrag-stop"}:
                return await defrag_answer(question, node)
            case _:
                raise QuestionError(
                    "unknown request; supported are status, explain, fits, propose, activate, record, shadow and defrag"
                )


async def defrag_answer(question: Any, node: Placing | None) -> dict[str, Any]:
    """Answer ``{"ask": "defrag", "moves": 10, "bytes": 1000}``, the same with ``defrag-apply``, or ``defrag-stop``."""
    if node is None:
        raise QuestionError("policy none assigns nothing, so there is nothing to move; choose another policy")
    match question:
        case {"ask": "defrag", "moves": int(most), "bytes": int(most_bytes)}:
            return await node.defrag.plan(most, most_bytes)
        case {"ask": "defrag-apply", "moves": int(most), "bytes": int(most_bytes)}:
            return await node.defrag.apply(most, most_bytes)
        case {"ask": "defrag-stop"}:
            return node.defrag.stop()
        case _:
            raise QuestionError("defrag needs a budget: moves and bytes, both whole numbers")


async def fits_answer(question: dict[str, Any], observed: Observed | None) -> dict[str, Any]:
    """Return whether pods would fit now; nothing changes, and nothing is reserved.

    Raises:
        QuestionError: nothing is decided.
        CrirmError: such a pod cannot be.
    """
    from crirm.policy import fitting  # noqa: PLC0415 - not needed at the start

    if observed is None:
        raise QuestionError("policy none places nothing, so everything fits; choose another policy")
    wish, engine = fitting.wish_of(question), observed.engine
    decisions = []
    for decision in fitting.copies(engine.policy, engine.state, wish, engine.now_s):
        decisions.append(decision)
        await trio.lowlevel.checkpoint()  # the kubelet's calls come first; what is asked about stays as it was
    return {**fitting.record(engine.policy, wish, decisions), "overflow": engine.choice.overflow}


async def recorded(file: str, observed: Observed | None) -> dict[str, Any]:
    """Start a trace in *file*, or stop the active one."""
    if observed is None:
        raise QuestionError(
            "policy none decides nothing, so there is nothing to record; choose another policy, or use --record"
        )
    if file:
        await observed.recorder.start(file)
        return {"file": file}
    return {"file": await observed.recorder.stop()}


def proposal_record(proposal: Proposal, refusal: str, warnings: Sequence[str]) -> dict[str, Any]:
    """Return *proposal* as JSON; *refusal* is why it could not be activated."""
    placing = proposal.placing
    changes = placing.plan.changes if placing else {}
    unfit = placing.plan.unfit if placing else {}
    name = placing.name if placing else str
    return {
        "policy": proposal.settings.policy.name,
        "refused": refusal or proposal.refusal,
        "warnings": list(warnings),
        "changes": [
            {"name": name(key), "why": change.why, "before": _adjusted(change.before), "after": _adjusted(change.after)}
            for key, change in changes.items()
        ],
        "unfit": [{"name": name(key), "reason": reason} for key, reason in unfit.items()],
        "containers": len(placing.before.workload.containers) if placing else 0,
    }


def _adjusted(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "cpus": None if adjustment.cpus is None else str(adjustment.cpus),
        "mems": None if adjustment.mems is None else str(adjustment.mems),
        "cpu_shares": adjustment.cpu_shares,
    }


def status(observed: Observed | None) -> dict[str, Any]:
    """Return the policy and the assignment of each container."""
    if observed is None:
        return {"policy": "none", "state_failure": "", "findings": [], "machine": {}, "containers": [], "refused": []}
    engine, drift = observed.engine, observed.drift()
    containers = engine.state.workload.containers.values()
    return {
        "policy": engine.policy.name,
        "state_failure": observed.state_failure,
        "findings": list(observed.findings),
        "machine": observed.machine_status(),
        "containers": [_container(c, engine, drift.get(c.key, "")) for c in sorted(containers, key=lambda c: c.key)],
        "refused": waiting(observed),
    }


def _container(container: Container, engine: Engine, drift: str) -> dict[str, Any]:
    pod = engine.state.workload.pod_of(container)
    adjustment = engine.state.adjustments.get(container.key)
    trail = engine.trails.get(container.key)
    return {
        "name": engine.state.workload.full_name(container.key),
        "id": container.id,
        "state": container.state.value,
        "qos": pod.qos.value,
        "pool": trail.trail.chosen if trail else "",
        "cpus": str(adjustment.cpus) if adjustment and adjustment.cpus is not None else None,
        "mems": str(adjustment.mems) if adjustment and adjustment.mems is not None else None,
        "cpu_shares": adjustment.cpu_shares if adjustment else None,
        "cpu_quota_us": adjustment.cpu_quota_us if adjustment else None,
        "drift": drift,
        "degraded": engine.state.degraded.get(container.key, ""),
    }


def explained(what: str, observed: Observed) -> list[Explained]:
    """Return the trails of the containers that match *what*, the newest last.

    Args:
        what: ``namespace/pod/container``, ``namespace/pod``, ``pod/container``, ``pod`` or ``container``.
        observed: the node.

    Raises:
        QuestionError: no container of that name was assigned or refused.
    """
    found = [e for e in observed.engine.trails.values() if _names(what, e.name)]
    if not found and not refusals(what, observed):
        known = sorted({e.name for e in observed.engine.trails.values()})
        listed = (
            f"known containers: {', '.join(known[:10])}{' and more' if len(known) > 10 else ''}"
            if known
            else "no container is known"
        )
        raise QuestionError(f"{clipped(what)}: no assigned or refused container has this name; {listed}")
    return found


def refusals(what: str, observed: Observed) -> list[dict[str, Any]]:
    """Return why containers that match *what* were refused, unless they were placed since."""
    return [_refused(each) for each in observed.engine.refusals.values() if _names(what, each.name)]


def waiting(observed: Observed) -> list[dict[str, Any]]:
    """Return the refused containers whose pod is still there, the latest refusal last."""
    pods = observed.engine.state.workload.pods.values()
    there = {f"{clipped(pod.namespace)}/{clipped(pod.name)}" for pod in pods}
    return [_refused(each) for each in observed.engine.refusals.values() if each.pod in there]


def _refused(refused: Refused) -> dict[str, Any]:
    return {
        "name": refused.name,
        "at_s": refused.at_s,
        "refused": refused.why,
        "code": refused.code,
        "fits": list(refused.fits),
        "times": refused.times,
    }


def _names(what: str, name: str) -> bool:
    """Whether *what* consists of consecutive whole components of ``namespace/pod/container``."""
    parts, wanted = name.split("/"), what.strip("/").split("/")
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - len(wanted) + 1))


def explanations(what: str, observed: Observed) -> list[dict[str, Any]]:
    """Return as JSON how the containers that match *what* got their assignments.

    Raises:
        QuestionError: see `explained`.
    """
    return [_explained(entry, observed) for entry in explained(what, observed)]


async def analyse(entries: Sequence[dict[str, Any]], observed: Observed) -> None:
    """Add to *entries* of `explanations` what the kernel has of each container.

    Raises:
        QuestionError: these are too many to read at once.
    """
    if len(entries) > MOST_ANALYSED:
        raise QuestionError(f"{len(entries)} containers match; --analyze reads at most {MOST_ANALYSED}, so name fewer")
    for entry in entries:
        entry["kernel"] = await observed.analysed(entry["trail"]["key"])


def _explained(entry: Explained, observed: Observed) -> dict[str, Any]:
    since = observed.engine.moves.get(entry.trail.key, ())
    trail = attrs.asdict(entry.trail)
    for move in trail["moves"]:
        move["name"] = _name(move["key"], observed)
    return {
        "name": entry.name,
        "at_s": entry.at_s,
        "trail": trail,
        "since": [{"at_s": moved.at_s, **attrs.asdict(moved.move)} for moved in since],
    }


def _name(key: ContainerKey, observed: Observed) -> str:
    entry = observed.engine.trails.get(key)
    return entry.name if entry else observed.engine.state.workload.full_name(key)
