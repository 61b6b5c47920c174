"""The ``bitext`` command: finds a subcommand by name and imports only that one.

A subcommand is a plain function in the ``commands.py`` of its package, with Typer annotations, and
one line in ``COMMANDS``. It prints results on stdout and raises; what is the same for all of them
is done here once: logging, UTF-8 output, errors in one line, Ctrl-C, a reader that went away. ::

    def align(
        file: Annotated[str, typer.Argument(help="Lines of 'source TAB target'; - is stdin.")],
        method: Annotated[str, typer.Option(help="How links are chosen.")] = "itermax",
        progress: Annotated[bool | None, typer.Option(help="Show progress on stderr.")] = None,
    ) -> None:
        '''Align the words of sentence pairs.'''
        from aligners.aligner import Aligner  # brings torch: never at the top of the module

        with report_progress("pairs", show=progress) as done:  # bitext.progress
            for pair in read_bitext(file):
                print(...)
                done(1)

Exit codes: 0 done; 2 a mistake of the caller (a ``BitextError``, or options that do not exist), or
a full disk; 130 interrupted, with what the ``KeyboardInterrupt`` says, such as how to go on; 141
the reader of stdout went away, as after ``| head``. A command may end with ``raise SystemExit(1)``
for an answer that is no. Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import functools
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from bitext import __version__
from bitext.errors import BitextError, UnknownNameError, choose_from

# name (a group's name comes first) -> (module:function, what --help says of it)
COMMANDS: dict[str, tuple[str, str]] = {
    "align": ("aligners.commands:align", "Align the words of sentence pairs."),
    "project": (
        "aligners.projection_commands:project",
        "Carry tags, spans or markup over to translations.",
    ),
    "symmetrize": (
        "aligners.link_commands:symmetrize",
        "Make one alignment of two directed ones.",
    ),
    "remap": ("aligners.link_commands:remap_links", "Carry links to another tokenisation."),
    "convert": ("aligners.link_commands:convert", "Write alignments in another format."),
    "embed": ("retrieval.vectors.commands:embed", "Turn sentences into vectors."),
    "centring fit": (
        "retrieval.vectors.commands:fit",
        "Learn what the vectors of each language have in common.",
    ),
    "centring apply": (
        "retrieval.vectors.commands:apply",
        "Take it away from the vectors of one language.",
    ),
    "index": ("retrieval.store.commands:index", "Build a searchable index of sentences."),
    "retrieve": ("retrieval.store.commands:retrieve", "Find the nearest sentences of an index."),
    "delete": ("retrieval.store.change_commands:delete", "Take sentences out of an index."),
    "reindex": ("retrieval.store.change_commands:reindex", "Train the search of an index anew."),
    "snapshot": ("retrieval.store.change_commands:snapshot", "Copy an index as it is now."),
    "restore": ("retrieval.store.change_commands:restore", "Make an index of a snapshot."),
    "mine": ("retrieval.mining.commands:mine", "Find translations in two corpora."),
    "filter": ("retrieval.filters.commands:filter_pairs", "Drop pairs that are no translations."),
    "back-translate": (
        "nmt.translation.backtranslation_commands:back_translate",
        "Make pairs of text in the target language alone.",
    ),
    "align-documents": (
        "retrieval.documents.commands:align_documents",
        "Align the sentences of documents.",
    ),
    "evaluate alignment": (
        "aligners.evaluation_commands:evaluate_alignment",
        "Score word alignments against gold.",
    ),
    "evaluate retrieval": (
        "retrieval.evaluation.commands:evaluate_retrieval",
        "Score retrieval between line-parallel files, or of a folder.",
    ),
    "evaluate mining": (
        "retrieval.evaluation.mining_commands:evaluate_mining",
        "Score mined pairs against gold.",
    ),
    "evaluate documents": (
        "retrieval.documents.commands:evaluate_documents",
        "Score aligned documents against gold.",
    ),
    "evaluate translation": (
        "nmt.evaluation.commands:evaluate_translation",
        "Score translations against references.",
    ),
    "pretrain": ("encoders.commands:pretrain", "Train a multilingual encoder."),
    "adapt": ("encoders.commands:adapt", "Train a model further on your text."),
    "train": ("nmt.training.commands:train", "Train a translation model."),
    "translate": ("nmt.translation.commands:translate", "Translate sentences."),
    "export": (
        "nmt.translation.commands:export",
        "Write a translation model for CTranslate2, or in another precision.",
    ),
    "inspect": (
        "encoders.inspection.command:inspect",
        "Measure a model's layers; recommend settings.",
    ),
    "download": ("encoders.commands:download", "Fetch a model from the hub."),
    "models": ("encoders.commands:models", "List the models on this machine."),
    "fairseq write-data": (
        "nmt.interop.commands:write_data",
        "Binarise bitext for fairseq, as fairseq-preprocess does.",
    ),
    "fairseq read-data": (
        "nmt.interop.commands:read_data",
        "Write fairseq's binarised bitext as text.",
    ),
    "fairseq import-model": (
        "nmt.interop.commands:import_model",
        "Turn a model.pt of fairseq into a folder of ours.",
    ),
    "fairseq export-model": (
        "nmt.interop.commands:export_model",
        "Turn a translation model into a model.pt of fairseq.",
    ),
    "backup create": (
        "service.backup.commands:create",
        "Write all that a service keeps to one file.",
    ),
    "backup check": ("service.backup.commands:check", "See whether a backup is whole."),
    "backup restore": (
        "service.backup.commands:restore",
        "Make the data of a service what a backup holds.",
    ),
    "keys make": ("service.access.commands:make", "Make a key for the service."),
    "keys list": ("service.access.commands:list_keys", "List the keys of the service."),
    "keys revoke": ("service.access.commands:revoke", "Revoke a key."),
    "serve": ("service.commands:serve", "Answer over HTTP, with a page to try it."),
    "worker": ("service.jobs.commands:worker", "Run the jobs of a service."),
    "jobs submit": ("service.jobs.commands:submit", "Submit a job to a running service."),
    "jobs list": ("service.jobs.commands:show_list", "List jobs, the latest first."),
    "jobs show": ("service.jobs.commands:show", "Print a job as JSON."),
    "jobs log": ("service.jobs.commands:log", "Print what a job's commands have said."),
    "jobs cancel": ("service.jobs.commands:cancel", "Have a job stopped."),
    "jobs retry": ("service.jobs.commands:retry", "Go on with a job that failed."),
    "database upgrade": (
        "service.database.commands:upgrade",
        "Bring the tables to the version of this bitext.",
    ),
    "database status": (
        "service.database.commands:status",
        "Show which version the tables have.",
    ),
}

GROUPS = {
    "backup": "Keep all that a service has in one file, and put it back.",
    "centring": "Take away from vectors what their languages have in common.",
    "evaluate": "Score alignment, retrieval, mining, documents or translations against gold.",
    "fairseq": "Exchange data and models with fairseq.",
    "jobs": "Mining, indexing and training that a service has done by its workers.",
    "keys": "Say who may use the service.",
    "database": "The tables in which the service keeps its jobs and keys.",
}

OPTIONS = {
    "--verbose": "Log on stderr what is being done.",
    "--version": "Show the version and exit.",
    "--help": "Show this message and exit.",
}

MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell counts
NO_READER = 141  # 128 + SIGPIPE
FULL = (errno.EDQUOT, errno.EFBIG, errno.ENOSPC)
"""A disk, or what one may write on it, is used up."""

Command = Callable[..., object]


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``args`` (by default, those of the process) name, and exit."""
    _write_utf8()
    try:
        code = _run(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        code = NO_READER
    except OSError as error:
        if error.errno not in FULL:
            raise
        _forget_stdout()
        print(f"bitext: cannot write: {error.strerror}", file=sys.stderr)
        code = MISTAKE
    sys.exit(code)


def _forget_stdout() -> None:
    """Python flushes stdout once more at its end, and would complain about it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(args: list[str]) -> str | int | None:
    """Do what ``args`` say; return the exit code."""
    speaker = "bitext"
    try:
        name, rest = _find(_take_options(args))
        speaker = f"bitext {name}"
        _parse(name, _load(name), rest)()
    except BitextError as error:
        print(f"{speaker}: {_joined(str(error), error.hint)}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as stop:
        print(f"{speaker}: {_joined('interrupted', str(stop))}", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        return end.code
    return 0


def _joined(sentence: str, hint: str) -> str:
    return f"{sentence}; {hint}" if hint else sentence


def _write_utf8() -> None:
    """Results are UTF-8 wherever they go, as the input is, whatever the locale says."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _take_options(args: list[str]) -> list[str]:
    """Obey the options before the command's name; return what follows them."""
    level = logging.WARNING
    while args and args[0].startswith("-"):
        option = args.pop(0)
        if option == "--help":
            _answer(_help())
        if option == "--version":
            _answer(f"bitext {__version__}")
        if option != "--verbose":
            raise UnknownNameError(choose_from("option", option, OPTIONS))
        level = logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return args


def _find(args: list[str]) -> tuple[str, list[str]]:
    """The command's name, of one word or two, and the arguments after it."""
    if not args:
        print(_help(), file=sys.stderr)
        sys.exit(MISTAKE)
    first, *rest = args
    if first not in _words_within():
        raise UnknownNameError(choose_from("command", first, _words_within()))
    if first not in GROUPS:
        return first, rest
    if not rest:
        print(_help(first), file=sys.stderr)
        sys.exit(MISTAKE)
    if rest[0] == "--help":
        _answer(_help(first))
    if rest[0] not in _words_within(first):
        raise UnknownNameError(choose_from(f"{first} command", rest[0], _words_within(first)))
    return f"{first} {rest[0]}", rest[1:]


def _words_within(group: str = "") -> dict[str, str]:
    """The words that may come next, and what ``--help`` says of each."""
    if group:
        start = f"{group} "
        return {k.removeprefix(start): v[1] for k, v in COMMANDS.items() if k.startswith(start)}
    single = {name: text for name, (_, text) in COMMANDS.items() if " " not in name}
    return {**single, **GROUPS}


def _answer(text: str) -> NoReturn:
    print(text)
    sys.exit(0)


def _help(group: str = "") -> str:
    """The page of ``bitext --help`` or of a group, without importing a command."""
    about = GROUPS.get(group, "Align words and retrieve translations with one multilingual model.")
    options = {"--help": OPTIONS["--help"]} if group else OPTIONS
    usage = f"Usage: bitext {group} COMMAND ..." if group else "Usage: bitext [OPTIONS] COMMAND ..."
    lines = [usage, "", f"  {about}"]
    for title, rows in (("Options", options), ("Commands", _words_within(group))):
        width = max(map(len, rows))
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items())]
    return "\n".join(lines)


def _load(name: str) -> Command:
    module, _, function = COMMANDS[name][0].partition(":")
    command: Command = getattr(importlib.import_module(module), function)
    return command


def _parse(name: str, command: Command, args: list[str]) -> Callable[[], object]:
    """Let Typer read ``args`` by the command's annotations, and return the call they ask for.

    The command runs outside of Typer, which has its own ideas of Ctrl-C and of broken pipes. Where
    ``args`` ask for help or are wrong, Typer says so and exits.
    """
    import typer

    calls: list[Callable[[], object]] = []

    @functools.wraps(command)
    def remember(**options: object) -> None:
        calls.append(functools.partial(command, **options))

    # Plain help: Rich's panels would take half a second to import before a word is shown.
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(remember)
    try:
        typer.main.get_command(app).main(args, prog_name=f"bitext {name}")
    except SystemExit as end:
        if end.code == 1:  # the reader of the help went away; there is nothing else it exits so for
            raise BrokenPipeError from None
        if not calls:
            raise
    return calls[0]
