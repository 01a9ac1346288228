"""The command table and its lazy group: a command's module is imported when it is called, or asked for help.

The table below is all that `orchestra --help` needs. A command is a function `name(…) -> int` in
`orchestra/cli/<module>.py` with typer annotations; the first line of its docstring repeats the summary here (a test
holds them together) and `EXAMPLES` in its module closes its help page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from orchestra import __version__
from orchestra.cli import exits
from orchestra.views.ansi import clean, paint_for
from orchestra.views.problems import help_line

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter
    from typer._click.shell_completion import CompletionItem

PROGRAM = "orchestra"
COMPLETION_VARIABLE = "_ORCHESTRA_COMPLETE"
HELP_WIDTH = 80  # fixed: help is the same text on every terminal, and in the documentation


class Entry(NamedTuple):
    """One command: the module it lives in, the heading it stands under, and its one-line summary."""

    module: str
    heading: str
    summary: str


RUN, LIVE, LOOK, CHECK, CLEAN, BUILD = "Run", "Act on a live instance", "Look", "Check a file", "Audit", "Build"

COMMANDS: dict[str, Entry] = {
    "up": Entry("up", RUN, "Create the objects, wire and launch the processes."),
    "down": Entry("down", RUN, "Stop an instance and do what on_down says."),
    "restart": Entry("restart", LIVE, "Stop processes of a live instance and start them again."),
    "stop": Entry("stop", LIVE, "Stop processes of a live instance."),
    "start": Entry("start", LIVE, "Start processes of a live instance."),
    "scale": Entry("scale", LIVE, "Change how many replicas processes of a live instance have."),
    "signal": Entry("signal", LIVE, "Send a signal to processes of a live instance."),
    "wait": Entry("wait", LIVE, "Wait until processes of an instance are ready, or have ended."),
    "exec": Entry("exec", LIVE, "Run a command, or a shell, with the wiring of a process."),
    "ps": Entry("ps", LOOK, "List the processes of an instance."),
    "objects": Entry("objects", LOOK, "List the objects of an instance and who holds them."),
    "ls": Entry("ls", LOOK, "List the instances, live and ended."),
    "logs": Entry("logs", LOOK, "Show the log of a run, live or ended."),
    "inspect": Entry("inspect", LOOK, "Show every field the kernel keeps of one object."),
    "plan": Entry("plan", CHECK, "Show the steps a run would take, in order."),
    "validate": Entry("validate", CHECK, "Check topology files; report every error at once."),
    "config": Entry("config", CHECK, "Show the resolved file and where its values come from."),
    "schema": Entry("schema", CHECK, "Print the JSON Schema of topology files."),
    "audit": Entry("audit", CLEAN, "Report which IPC objects are on the host, who made and who holds them."),
    "clean": Entry("clean", CLEAN, "Remove what leaked; on request, what was kept or orphaned."),
    "prune": Entry("prune", CLEAN, "Forget old runs: their logs and their records."),
    "remove": Entry("remove", CLEAN, "Remove objects by hand, whoever made them."),
    "cflags": Entry("cflags", BUILD, "Print the compiler flags for C programs."),
}


ORIGINAL = "orchestra.arguments"  # key of Context.meta: the words as they were typed, `--` among them


class Page(TyperCommand):
    """A command whose help ends with its examples, line by line as they were written."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Keep the words: after parsing nobody can tell whether there was a `--`."""
        ctx.meta[ORIGINAL] = list(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples without rewrapping them."""
        write_examples(formatter, self.epilog)


class LazyGroup(TyperGroup):
    """The top-level group: knows all commands by name and summary, imports none until it is needed."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002
        """Import and build one command."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Write the summaries under their headings, from the table alone."""
        for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
            rows = [(name.ljust(8), e.summary) for name, e in COMMANDS.items() if e.heading == heading]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples without rewrapping them."""
        write_examples(formatter, self.epilog)

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the table alone, and options."""
        from typer._click.core import Command
        from typer._click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *Command.shell_complete(self, ctx, incomplete)]


def write_examples(formatter: HelpFormatter, examples: str | None) -> None:
    """Write an `Examples:` section."""
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}".rstrip() + "\n" for line in examples.strip("\n").split("\n")))


def load_command(name: str) -> Command:
    """Import a command's module and let typer build it."""
    module = import_module(f"orchestra.cli.{COMMANDS[name].module}")
    shell = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    shell.command(name, cls=Page, epilog=module.EXAMPLES)(getattr(module, name))
    return get_command(shell)


EXAMPLES = """
orchestra validate pipeline.yaml       find every mistake before anything starts
orchestra up pipeline.yaml             run it here; Ctrl-C stops it in order
orchestra up -d pipeline.yaml          run it in the background
orchestra ps                           see its processes
orchestra logs pipeline.worker         read what one process wrote
orchestra down pipeline                stop it and remove its objects
orchestra audit                        see what was left behind, and why
"""

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": HELP_WIDTH},
    epilog=EXAMPLES,
    subcommand_metavar="COMMAND …",
    options_metavar="",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def orchestra(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run processes and the kernel IPC objects between them, from one file.

    Queues, shared memory, semaphores and pipes are declared in a topology file
    (./orchestra.yaml by default). orchestra creates them, launches the
    processes, records everything, and removes what should be removed.
    """
    del version


def main(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit status. Never raises, except with ORCHESTRA_DEBUG=1."""
    return exits.guarded(lambda: _dispatch(list(arguments)))


def _dispatch(arguments: list[str]) -> int:
    group = cast("LazyGroup", get_command(app))
    if os.environ.get(COMPLETION_VARIABLE):
        # Completion renders help through rich when it finds it: 50 ms of every Tab, for nothing.
        sys.modules["rich"] = None  # type: ignore[assignment]
        group.main(arguments, prog_name=PROGRAM)  # writes the candidates and exits
    if not arguments:
        arguments = ["--help"]
    try:
        with group.make_context(PROGRAM, arguments) as context:
            answer: Any = group.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:  # a question that got end of file, or Ctrl-C, for an answer
        return exits.ExitCode.INTERRUPTED
    except typer.TyperException as wrong:
        return _usage(wrong)
    return int(answer or 0)


def _usage(wrong: typer.TyperException) -> int:
    """Say what is wrong with the command line, and where to read how it goes."""
    paint = paint_for(sys.stderr)
    context: Context | None = getattr(wrong, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    words, near = wrong.format_message(), ""
    if words.startswith("No such command"):
        words = words.partition(". Did you mean")[0]
        from difflib import get_close_matches  # only on the way to an error message

        near = _first(get_close_matches(words.split("'")[1].lower(), COMMANDS, n=1, cutoff=0.5))
        near = f"{PROGRAM} {near}" if near else ""
    elif words.startswith("No such option"):
        words = words.partition(" (Possible options")[0]
        near = _first(getattr(wrong, "possibilities", None) or [])
    words = words[:1].lower() + words[1:].rstrip(".")
    hint = f"did you mean `{near}`?" if near else f"`{path} --help` shows how it is used."
    if words.startswith("no such option") and path == f"{PROGRAM} exec":
        hint = "The command comes after --: orchestra exec TARGET -- CMD…"
    exits.tell(f"{paint('error', 'bold', 'red')}: {clean(words)}\n{help_line(hint, paint)}")
    return exits.ExitCode.USAGE


def _first(words: Sequence[str]) -> str:
    return words[0] if words else ""
