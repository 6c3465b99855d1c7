"""The node agent at the start of the daemon: a health check."""

from __future__ import annotations

import trio

from crirm.logs import get_logger

log = get_logger("resource-manager-agent")


async def greet_agent(path: str) -> None:
    """Check the health of the node agent at *path* and log it; an agent that starts later connects by itself."""
    if not await trio.Path(path).exists():
        log.debug("node agent is not running yet; waiting for it to send a configuration", socket=path)
        return
    from crirm.kube.agent_client import AgentClient, AgentError  # noqa: PLC0415  # most nodes have no agent at the start

    try:
        trouble = await AgentClient(path).health_check("")
    except AgentError as error:
        log.warning("node agent does not answer; waiting for it to send a configuration", reason=str(error))
        return
    log.info("node agent is running", socket=path, trouble=trouble or "none")
