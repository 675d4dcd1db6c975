"""`headrace export`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.opening import name_of
from headrace.cli.options import definition_argument, generation_option, with_settings
from headrace.config import Settings


@click.command()
@definition_argument
@generation_option
@click.option("--format", "_format", type=click.Choice(["pmml"]), default="pmml", show_default=True, help="Which.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where to [default: stdout]."
)
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
@with_settings
def export(
    settings: Settings, definition: str, generation: int | None, _format: str, out: Path | None, replace: bool
) -> None:
    """Write the fitted model of a sealed generation of DEFINITION as PMML 4.4, which other tools score.

    It reads what the learner reads (finished features, or columns of prepared events), and answers as the generation
    does: what the stream has moved since is not in it.
    """
    from headrace.errors import InputError
    from headrace.registry import Registry
    from headrace.registry.export import as_pmml

    if out is not None and out.exists() and not replace:
        raise InputError(f"{out} is there already", do="name another file, or replace it with --replace")
    name = name_of(definition)
    registry = Registry(settings.registry)
    sealed = registry.load(name, generation or registry.newest(name))
    written = as_pmml(sealed)
    if out is None:
        click.echo(written, nl=False)
        return
    try:
        out.write_bytes(written)
    except OSError as error:
        raise InputError(f"{out} cannot be written", found=error.strerror, do="name another file") from error
    click.echo(f"{out}: generation {sealed.manifest.generation} of {name}, {len(written):,} bytes of PMML")
