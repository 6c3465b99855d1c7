"""A shell on an emulated server with containerd and crirm running, for a person; run by ``nox -s vm -- --shell``."""

from __future__ import annotations

import subprocess
import sys

from crirm.launcher.containerd import find_installed
from tests.trio_thread import open_trio_thread
from tests.vm.inside.facts import this_server
from tests.vm.inside.node import FOLDER, Node, start_containerd

_DEFAULT = ("--policy", "topology-aware", "--reserved-cpus", "cpuset:0")

_WELCOME = """
Emulated server {name}, {line}
containerd serves {runtime}, crirm {options} in front of it {relay}

  pods run web --cpu 2 --memory 64Mi     a Guaranteed pod, as the kubelet would run it; pods run --help has the rest
  pods list                              what the kernel lets each container use
  crirm status                           what crirm has decided; crirm explain web/c0 why
  crirm topology                         the machine
  tail -f {log}

Ctrl-D or `exit` switches the server off.
"""

_BASHRC = """
PS1='server \\w # '
alias pods='python -m tests.vm.inside.pods'
for command in status explain; do
    eval "crirm_$command() {{ command crirm $command --control-socket {control} \\"\\$@\\"; }}"
done
crirm() {{
    case $1 in
        status | explain) "crirm_$1" "${{@:2}}" ;;
        *) command crirm "$@" ;;
    esac
}}
"""


def main(options: list[str]) -> int:
    """Start everything and be a shell; *options* are those of ``crirm serve``."""
    server, installation = this_server(), find_installed()
    if server is None or installation is None:
        sys.stderr.write("this is for the inside of an emulated server: nox -s vm -- --shell\n")
        return 2
    options = options or list(_DEFAULT)
    FOLDER.mkdir(parents=True, exist_ok=True)
    sys.stdout.write("starting containerd and crirm ...\n")
    sys.stdout.flush()
    with open_trio_thread() as thread:
        containerd = start_containerd(thread, installation, server)
        node = Node(containerd, server.systemd, FOLDER)
        node.start(*options)
        facts = {"relay": node.relay, "log": FOLDER / "crirm.log", "control": FOLDER / "relay-control.sock"}
        rc = FOLDER / "bashrc"
        rc.write_text(_BASHRC.format(**facts))
        about = {"name": server.name, "line": server.line, "runtime": containerd.socket, "options": " ".join(options)}
        sys.stdout.write(_WELCOME.format(**facts, **about))
        sys.stdout.flush()
        code = subprocess.run(["bash", "--rcfile", str(rc), "-i"], check=False).returncode
        node.kubelet.remove_all()
        node.stop()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
