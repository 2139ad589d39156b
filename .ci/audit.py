"""Checks the installed packages for known vulnerabilities.

Fails if a vulnerability is fixed in a newer version, or if no package could be audited although the vulnerability
service answers. If the service cannot be reached, prints a note and passes.
"""

import json
import subprocess
import sys
import tempfile
from typing import Any

PIP_AUDIT = (sys.executable, "-m", "pip_audit")
OPTIONS = ("--format", "json", "--progress-spinner", "off", "--timeout", "5")
CANARY = "pip==24.0"  # a release with known vulnerabilities


def main() -> None:
    if (run := subprocess.run([*PIP_AUDIT, "--version"], capture_output=True, text=True)).returncode:
        sys.exit(f"pip-audit FAILED: it cannot be run. {last(run.stderr)}")
    packages, error = audit("--skip-editable")
    known = [package for package in packages if "vulns" in package]
    if not known:
        if reachable():
            sys.exit(f"pip-audit FAILED: none of {len(packages)} packages was audited. {error}")
        return print(f"pip-audit skipped: the vulnerability service cannot be reached. {error}")
    vulnerabilities = [(package, vuln) for package in known for vuln in package["vulns"]]
    for package, vuln in vulnerabilities:
        fixed = ", ".join(vuln["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vuln['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(known)} of {len(packages)} packages audited, {len(vulnerabilities)} vulnerabilities")
    sys.exit(any(vuln["fix_versions"] for _, vuln in vulnerabilities))


def audit(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The audited packages, and an error message if there are none."""
    try:
        run = subprocess.run([*PIP_AUDIT, *OPTIONS, *arguments], capture_output=True, text=True, timeout=120)
        return json.loads(run.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return [], "No answer in two minutes."
    except (ValueError, KeyError):
        return [], last(run.stderr)


def last(text: str) -> str:
    """The last line of a text, at most 200 characters."""
    return (text.strip().splitlines() or ["No answer."])[-1][:200]


def reachable() -> bool:
    """Whether the vulnerability service answers for the canary."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(CANARY)
        requirements.flush()
        packages, _ = audit("--no-deps", "--disable-pip", "-r", requirements.name)
    return any("vulns" in package for package in packages)


if __name__ == "__main__":
    main()
