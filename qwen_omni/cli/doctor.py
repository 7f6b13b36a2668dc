"""`qwen-omni doctor`: checks the key, the model, the stores or a link, and prints the findings."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from qwen_omni.addresses import is_private_url
from qwen_omni.cli.output import ServiceRegion, ServiceWorkspace, settings_for, show_finding
from qwen_omni.diagnostics import examine, examine_link
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.transport.api import run

_NO_KEY = "not-needed"  # fetching a link needs none, and none is sent


def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="A link to media; without one, check the account.")
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="The model to try.")] = DEFAULT_MODEL,
    region: ServiceRegion = None,
    workspace: ServiceWorkspace = None,
    base_url: Annotated[str | None, typer.Option(help="URL of another service.")] = None,
) -> None:
    """Check key, region, model and stores, or fetch a link as the service would; show what to do about each fault."""
    if url is not None:
        settings = settings_for(region, base_url, workspace, api_key=_NO_KEY, read_timeout=30.0)
        allowed = settings.private_links or is_private_url(settings.base_url)
        findings = iter(run(examine_link(url, now=datetime.now(UTC), allow_private=allowed), settings))
    else:
        settings = settings_for(region, base_url, workspace)
        findings = examine(settings, model)
    bad = 0
    for finding in findings:
        show_finding(finding.name, finding.verdict, finding.text, finding.step)
        bad += finding.verdict == "bad"
    if bad:
        raise typer.Exit(1)
