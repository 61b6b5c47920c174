"""fairseq's commands with the shim: ``python nmt/interop/fairseq_plugin COMMAND ARGUMENTS``.

COMMAND is ``preprocess``, ``train``, ``generate``, ``interactive``, ``validate``, ``score`` or
``eval_lm``. All but ``score`` know the architecture ``transformer_from_mllm``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

COMMANDS = ("preprocess", "train", "generate", "interactive", "validate", "score", "eval_lm")


def main() -> None:
    """Run one of fairseq's commands, with this folder as its ``--user-dir``."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in COMMANDS:
        given = f"unknown command '{command}'; " if command else ""
        sys.exit(f"fairseq_plugin: {given}choose one of: {', '.join(COMMANDS)}")
    # without a package this file was run by its folder, which is then where modules are looked for
    shim = importlib.import_module(f"{__package__}.shim" if __package__ else "shim")
    shim.prepare()
    try:
        program = importlib.import_module(f"fairseq_cli.{command}")
    except ModuleNotFoundError as error:
        sys.exit(f"fairseq_plugin: {error}; `make fairseq` shows how fairseq is installed")
    shim.repair()
    own = str(Path(__file__).resolve().parent)
    known = command == "score" or any(a.split("=")[0] == "--user-dir" for a in sys.argv)
    sys.argv = [f"fairseq-{command}", *sys.argv[2:], *([] if known else ["--user-dir", own])]
    program.cli_main() if hasattr(program, "cli_main") else program.main()


if __name__ == "__main__":
    main()
