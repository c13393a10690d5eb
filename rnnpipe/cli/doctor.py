"""doctor: whether all is well, and what to do where it isn't."""

import logging

import click


@click.command(short_help="Check workspace, store, servers, device, disk and passwords.")
def doctor() -> int:
    """Check the workspace and all that a run needs: one line each, with the fix. Exit code 0 when all is well."""
    from flows.doctor import examine
    from rnnpipe.store import workspace_root

    logging.getLogger("rnnpipe").setLevel(logging.ERROR)  # the findings say it
    code = 0
    for finding in examine(workspace_root()):
        if finding.is_well:
            click.echo(f"ok     {finding.subject:12} {finding.text}")
        else:
            click.secho(f"WRONG  {finding.subject:12} {finding.text}; fix: {finding.fix}", fg="red")
            code = 1
    return code
