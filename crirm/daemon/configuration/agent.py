"""The node agent at the start of the daemon: is it there, and what does it say?"""

from __future__ import annotations

import trio

from crirm.logs import get_logger

log = get_logger("resource-manager-agent")


async def greet_agent(path: str) -> None:
    """Ask the node agent at *path* how it is, and log it; an agent that is not there yet comes by itself."""
    if not await trio.Path(path).exists():
        log.debug("there is no node agent yet; it sends a configuration when it comes", socket=path)
        return
    from crirm.kube.agent_client import AgentClient, AgentError  # noqa: PLC0415  # most nodes have no agent at the start

    try:
        trouble = await AgentClient(path).health_check("")
    except AgentError as error:
        log.warning("the node agent does not answer; what it has to say comes when it does", reason=str(error))
        return
    log.info("the node agent answers", socket=path, trouble=trouble or "none")
