"""Fails where an installed package has a known vulnerability that a newer version fixes, and where nothing could be
audited although the vulnerability service answers. Passes, and says so, where the service cannot be reached."""

import json
import subprocess
import sys
import tempfile
from typing import Any

PIP_AUDIT = (sys.executable, "-m", "pip_audit")
OPTIONS = ("--format", "json", "--progress-spinner", "off", "--timeout", "5")
CANARY = "pip==24.0"  # a release that the service knows


def main() -> None:
    if (run := subprocess.run([*PIP_AUDIT, "--version"], capture_output=True, text=True)).returncode:
        sys.exit(f"pip-audit FAILED: it does not run. {last(run.stderr)}")
    packages, error = audit("--skip-editable")
    known = [package for package in packages if "vulns" in package]
    if not known:
        if reachable():
            sys.exit(f"pip-audit FAILED: none of {len(packages)} packages was audited. {error}")
        return print(f"pip-audit skipped: the vulnerability service cannot be reached. {error}")
    found = [(package, vuln) for package in known for vuln in package["vulns"]]
    for package, vuln in found:
        fixed = ", ".join(vuln["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vuln['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(known)} of {len(packages)} packages audited, {len(found)} vulnerabilities")
    sys.exit(any(vuln["fix_versions"] for _, vuln in found))


def audit(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, and where it says nothing, its last words."""
    try:
        run = subprocess.run([*PIP_AUDIT, *OPTIONS, *arguments], capture_output=True, text=True, timeout=120)
        return json.loads(run.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return [], "No answer in two minutes."
    except (ValueError, KeyError):
        return [], last(run.stderr)


def last(text: str) -> str:
    return (text.strip().splitlines() or ["No answer."])[-1][:200]


def reachable() -> bool:
    """Whether the service answers at all: whether it knows the canary."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(CANARY)
        requirements.flush()
        packages, _ = audit("--no-deps", "--disable-pip", "-r", requirements.name)
    return any("vulns" in package for package in packages)


if __name__ == "__main__":
    main()
