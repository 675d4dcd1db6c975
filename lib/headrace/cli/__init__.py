"""The `headrace` command: one lazily imported module per family of commands."""

from __future__ import annotations

import signal
import sys
import traceback
from importlib import import_module
from types import FrameType

import click

from headrace.errors import HeadraceError

DEFECT, INTERRUPTED = 70, 130

# command -> (module, one line of help); the modules import Spark, boto3 and FastAPI only when they run.
_COMMANDS = {
    "doctor": ("engines", "Check Java, jars, ports, memory and credentials, and say how to mend each."),
    "up": ("engines", "Start local engines (kafka, dynamodb, cassandra, s3, kinesis, postgres); data survives `down`."),
    "down": ("engines", "Stop the local engines this folder started."),
    "status": ("engines", "Show the local engines, their addresses and logs."),
    "run": ("batch", "Ingest, train, publish, promote and report: the main job."),
    "ingest": ("batch", "Land a file's events in the lake; bad rows go to quarantine."),
    "datasource": ("datasource", "Tell what the columns of a file are, and their statistics."),
    "load": ("cassandra", "Load a file into a table of Cassandra or Amazon Keyspaces."),
    "explore": ("cassandra", "Write a page about a table: counts, nulls, totals, returns, quantiles."),
    "train": ("batch", "Train on one snapshot of the lake and seal a generation."),
    "select": ("selection", "Measure combinations of a learner's settings on held-out samples."),
    "evaluate": ("prediction", "Measure a sealed generation on events that were held out from training."),
    "batch-predict": ("prediction", "Score events into gzip CSV, shard by shard; resumable."),
    "publish": ("batch", "Write a sealed generation to the serving store."),
    "stream": ("stream", "Keep a definition current from its stream: land, count, hand over."),
    "replay": ("replay", "Send a file's rows to a topic as a live stream."),
    "quarantine": ("quarantine", "List quarantined records, or send them again."),
    "promote": ("champion", "Make a published generation the champion, in one conditional write."),
    "rollback": ("champion", "Go back to the former champion, in one conditional write."),
    "compare": ("champion", "Answer stored entities by the challenger too, and tell how far it is off."),
    "purge": ("champion", "Remove versions that no champion, challenger or rollback can reach."),
    "verify": ("batch", "Recompute what is served; report mismatched, missing and extra keys."),
    "generations": ("champion", "List sealed generations and where each stands in the store."),
    "export": ("export", "Write a sealed generation's model as PMML, which other tools score."),
    "compact": ("maintenance", "Merge small files of a stream's tables in the lake."),
    "vacuum": ("maintenance", "Remove files of the lake that no retained generation reads."),
    "index": ("maintenance", "Keep events found by entity, for answers as of a past instant."),
    "split": ("data", "Cut a file of events in two by event time."),
    "demo": ("demo", "History as a batch, its last month live, a hand-over in between, and the proof."),
    "generate": ("data", "Write seeded sample data with the quirks of the real file."),
    "cleanup": ("cassandra", "Drop what headrace made in Cassandra, after confirmation."),
    "refresh": ("maintenance", "Take the live parameters of a learner of entities anew from the lake."),
    "lookup": ("serving", "Answer one key from the serving store."),
    "predict": ("serving", "Score records, by parameters that the stream keeps live."),
    "serve": ("serving", "Serve look-ups over HTTP, and a console."),
    "token": ("tokens", "Make a token for the server, hashed, with scopes."),
    "bench": ("bench", "Measure against peers, side by side (in a source checkout)."),
    "config": ("settings", "Print the settings in force and where they come from."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"headrace.cli.{_COMMANDS[cmd_name][0]}"), cmd_name.replace("-", "_")
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from headrace.errors import nearest

        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            hint = nearest(args[0], _COMMANDS)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {hint!r}?" if hint else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="headrace")
def cli() -> None:
    """The lambda platform without a seam: predictions that are complete, fresh and provably right.

    Exit codes: 0 done; 1 the answer is no; 2 wrong use or input, do not retry; 70 a defect; 75 try again; 130
    interrupted.
    """


def _terminated(_number: int, frame: FrameType | None) -> None:
    interrupted = signal.getsignal(signal.SIGINT)
    if not callable(interrupted):  # a shell lets what runs in its background ignore Ctrl-C
        raise KeyboardInterrupt
    interrupted(signal.SIGINT, frame)


def main(args: list[str] | None = None) -> None:
    """Run the command line; errors become one clear message and the exit code of their kind.

    SIGTERM, by which schedulers and clusters end a job, is answered as Ctrl-C is, unless a command has its own answer.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result = cli.main(args=args, prog_name="headrace", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except HeadraceError as error:
        click.echo(f"headrace: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("headrace: interrupted; run the same command again to resume", err=True)
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 - whatever it is
        # Python itself would exit with 1, which is an answer here.
        traceback.print_exc()
        click.echo("headrace: this is a defect; please report it with what stands above", err=True)
        sys.exit(DEFECT)
