"""Runs roc-validator on a crate in an environment of its own, without a network: CRATE PROFILE SEVERITY CONTEXT.

The validator asks w3id.org for the JSON-LD context that a crate names; it is answered from the file CONTEXT (the one
that the package rocrate carries). Prints a JSON list of the issues.
"""

import json
import sys
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from rocrate_validator import models, services

AS_IN_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
}
"""Terms that RO-Crate 1.1 maps to other addresses than the context of 1.3, which is the one that rocrate carries."""


def answer_from(path: Path) -> None:
    """Let every request be answered with the context."""
    tree = json.loads(path.read_bytes())
    tree["@context"] |= AS_IN_1_1
    content = json.dumps(tree).encode()

    def send(_: HTTPAdapter, request: requests.PreparedRequest, **__: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers["Content-Type"] = "application/ld+json"
        response._content = content
        return response

    HTTPAdapter.send = send


def main(crate: str, profile: str, severity: str, context: str) -> None:
    answer_from(Path(context))
    settings = services.ValidationSettings(
        rocrate_uri=models.URI(crate),
        profile_identifier=profile,
        requirement_severity=models.Severity[severity],
        no_cache=True,
    )
    result = services.validate(settings)
    issues = [
        {"check": issue.check.identifier, "severity": issue.severity.name, "message": issue.message}
        for issue in result.get_issues()
    ]
    skipped = [check.identifier for check in getattr(result, "skipped_checks", [])]
    print(json.dumps({"issues": issues, "checks": len(result.executed_checks), "skipped": len(skipped)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
