"""Ask the package index for known vulnerabilities of what is locked, with pip-audit.

    python scripts/audit.py locks/train.txt locks/infer.txt

PyPI tells of each version, and some mirrors of the newest one only. The exit code is 0
if the index told of every package, and knows of nothing.
"""

import sys
from pathlib import Path
from typing import Any


class NewestToo:
    """A session that asks for a project where the index has nothing of a version.

    What an index says of a project is about its newest version.

    Args:
        session: Sends the requests.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def get(self, url: str, timeout: int | None = None) -> Any:
        """Return the answer for ``PROJECT/VERSION/json``.

        Args:
            url: Its address.
            timeout: How many seconds to wait for each answer; None for no limit.
        """
        answer = self._session.get(url=url, timeout=timeout)
        if answer.status_code != 404:
            return answer
        project, version, _ = url.rsplit("/", 2)
        newest = self._session.get(url=f"{project}/json", timeout=timeout)
        is_newest = newest.ok and newest.json()["info"]["version"] == version
        return newest if is_newest else answer


def main() -> None:
    """Print what the index knows of the packages of the locks."""
    # In an environment of its own; the tests have none of it.
    from pip_audit._audit import Auditor
    from pip_audit._dependency_source import RequirementSource
    from pip_audit._service import PyPIService

    service = PyPIService(timeout=60)
    service.session = NewestToo(service.session)
    locks = RequirementSource(
        [Path(name) for name in sys.argv[1:]], no_deps=True, disable_pip=True
    )
    clean, untold, found = set(), set(), {}
    for package, vulnerabilities in Auditor(service).audit(locks):
        if package.is_skipped():
            untold.add(package.name)
        elif vulnerabilities:
            found[package.name] = vulnerabilities
        else:
            clean.add(package.name)
    print(f"{len(clean)} packages without a known vulnerability.")
    print(
        f"{len(untold)} of which the index tells nothing: {', '.join(sorted(untold))}"
    )
    for name, vulnerabilities in sorted(found.items()):
        for one in {one.id: one for one in vulnerabilities}.values():
            fixed = ", ".join(map(str, one.fix_versions)) or "no version"
            print(f"{name}: {one.id}, fixed in {fixed}: {one.description}")
    sys.exit(bool(untold or found))


if __name__ == "__main__":
    main()
