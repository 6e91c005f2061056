"""Say what an audit by pip-audit is worth: `python .ci/audit.py REPORT.json`.

pip-audit ends with "No known vulnerabilities found" also where the advisory service knew none of the packages, and
with an error where none answered. Neither says that the packages are sound, and neither is the fault of who asked:
both are said and are no failure. A known vulnerability is one.
"""

import json
import sys
from pathlib import Path
from typing import Any


def judge(report: Path) -> int:
    """Print what was found; the exit status.

    Args: report: of `pip-audit --format json`; missing or empty where it could not be made.
    """
    text = report.read_text(encoding="utf-8") if report.exists() else ""
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"] if text else []
    audited = [package for package in packages if "skip_reason" not in package]
    vulnerable = [package for package in audited if package["vulns"]]
    for package in vulnerable:
        for known in package["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version"
            _say(f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}")
    if not audited:
        _say("NOT AUDITED: no advisory service answered for any package.")
    else:
        _say(f"{len(audited)} of {len(packages)} packages audited, {len(vulnerable)} of them vulnerable.")
    return 1 if vulnerable else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(judge(Path(sys.argv[1])))
