"""Everything a developer or CI runs: ``nox -l`` lists it, ``nox -s dev`` is the quick round."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["dev"]
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CODE = ["crirm", "tests", "bench", "protos", "noxfile.py"]


def install(session: nox.Session, *groups: str) -> None:
    """Install crirm and the dependency *groups* of pyproject.toml, in the versions of constraints.txt."""
    packages = nox.project.dependency_groups(PROJECT, *groups)
    session.install("-c", "constraints.txt", "-e", ".", *packages)


@nox.session
def dev(session: nox.Session) -> None:
    """The quick tests, then format, lint, types and generated code, in one environment."""
    install(session, "dev")
    session.run("pytest", "tests/unit", "-n", "2", *session.posargs)  # first: a finding of a linter must not hide them
    _lint(session)
    session.run("python", "protos/generate.py", "--check")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff (format and check), mypy strict, import contracts."""
    install(session, "dev")
    _lint(session)


def _lint(session: nox.Session) -> None:
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)
    session.run("lint-imports")
    session.run("mypy")


@nox.session
def protos(session: nox.Session) -> None:
    """Generate crirm/cri/proto and crirm/kube/proto anew; with ``-- --check`` only say whether it is up to date."""
    install(session, "protos")
    session.run("python", "protos/generate.py", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Unit and integration tests; needs no root and no containerd."""
    install(session, "test")
    session.run("pytest", "tests/unit", "tests/integration", *session.posargs)


@nox.session
def random(session: nox.Session) -> None:
    """Generated tests with other examples each time, for five minutes; ``-- --seed N`` plays a failure again."""
    install(session, "test")
    session.run("python", "-m", "tests.random_run", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Conformance and end-to-end tests against real containerd; needs root on Debian or Ubuntu."""
    install(session, "test")
    session.run("pytest", "tests/conformance", "tests/e2e", *session.posargs)


@nox.session
def vm(session: nox.Session) -> None:
    """End-to-end tests on emulated servers; ``-- --shell`` gives a shell on one. Needs root on Debian."""
    install(session, "test")
    session.run("python", "-m", "tests.vm", *session.posargs)


@nox.session
def storm(session: nox.Session) -> None:
    """A thousand kill -9 of crirm under a storm of calls; ``-- --runtime containerd`` has real containers."""
    install(session, "test")
    session.run("python", "-m", "tests.storm", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """100,000 relayed calls and 10,000 placed pods: does anything grow? ``-- --quick`` for a short look."""
    install(session, "test")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def abuse(session: nox.Session) -> None:
    """Mutated requests, broken runtimes and floods; ``-- --only floods --name pings`` for one of them."""
    install(session, "test")
    session.run("python", "-m", "tests.abuse", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """A node in virtual time, and all that may go wrong: some seeds; ``-- --seeds 0-9999``, ``-- --minutes 10``."""
    install(session, "test")
    if session.posargs:
        session.run("python", "-m", "tests.simulation", *session.posargs)
    else:
        session.run("pytest", "tests/simulation")


@nox.session
def mutations(session: nox.Session) -> None:
    """Mends taken out one at a time: the simulation finds each within 500 seeds."""
    install(session, "test")
    session.run("python", "-m", "tests.simulation.mutations", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Calls made directly and through crirm in turn; ``-- --quick`` for a short look."""
    install(session, "test")
    session.run("python", "-m", "bench", *session.posargs)
