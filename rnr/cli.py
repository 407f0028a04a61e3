"""The command line: photos in, diagnoses and restored photos out; and the pipeline that makes the models.

    rnr --help                                  rnr restore holiday/ -o out/
    rnr diagnose fog.jpg --json                 rnr evaluate --clean sharp/ --degraded foggy/
    rnr evaluate-reasoner --no-baseline         rnr serve --port 8000
    rnr synthesize sharp/ -o foggy/ --add haze=60   rnr run   rnr promote --dry-run
    rnr watch --once                            rnr deploy   rnr worker

Exit codes: 0 done, 1 some inputs failed (each named on stderr, the others done), 2 wrong use. Everything heavy is
imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import NoReturn

from components import redaction
from rnr import console

PRESETS = ("cdd11", "miori", "realesrgan", "imagecorruptions")
REF_HELP = "model: pretrained, models:/NAME@ALIAS or a folder (default: the champion if there is one, else pretrained)"


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(console.WRONG_USE, f"{self.prog}: {console.one_line(message)}; see `{self.prog} --help`\n")


def strength(text: str) -> float:
    """A number in 0..1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number in 0..1")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds of at least 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def port(text: str) -> int:
    """A number in 0..65535, for argparse."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def edit(text: str) -> tuple[str, float]:
    """TYPE=SEVERITY, for argparse: a known degradation and a number in 0..100."""
    from components.diagnosis import TYPES

    kind, equals, number = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=SEVERITY, such as haze=0")
    if kind not in TYPES:
        raise argparse.ArgumentTypeError(f"unknown degradation {kind!r}; known: {', '.join(TYPES)}")
    try:
        severity = float(number)
    except ValueError:
        severity = math.nan
    if not 0 <= severity <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: a severity is a number in 0..100")
    return kind, severity


def restore(args: argparse.Namespace) -> int:
    from rnr import photos_commands

    return photos_commands.restore(args)


def diagnose(args: argparse.Namespace) -> int:
    from rnr import photos_commands

    return photos_commands.diagnose(args)


def evaluate(args: argparse.Namespace) -> int:
    from rnr import photos_commands

    return photos_commands.evaluate(args)


def evaluate_reasoner(args: argparse.Namespace) -> int:
    from rnr import reasoner_command

    return reasoner_command.command(args)


def run(args: argparse.Namespace) -> int:
    from rnr import pipeline_commands

    return pipeline_commands.run(args)


def watch(args: argparse.Namespace) -> int:
    from rnr import schedule_commands

    return schedule_commands.watch(args)


def deploy(args: argparse.Namespace) -> int:
    from rnr import schedule_commands

    return schedule_commands.deploy(args)


def worker(args: argparse.Namespace) -> int:
    from rnr import schedule_commands

    return schedule_commands.worker(args)


def promote(args: argparse.Namespace) -> int:
    from rnr import pipeline_commands

    return pipeline_commands.promote(args)


def rollback(args: argparse.Namespace) -> int:
    from rnr import pipeline_commands

    return pipeline_commands.rollback(args)


def history(args: argparse.Namespace) -> int:
    from rnr import pipeline_commands

    return pipeline_commands.history(args)


def models(args: argparse.Namespace) -> int:
    from rnr import pipeline_commands

    return pipeline_commands.models(args)


def synthesize(args: argparse.Namespace) -> int:
    from rnr import synthesize_command

    return synthesize_command.command(args)


def app(args: argparse.Namespace) -> int:
    from rnr.app import command

    return command.command(args)


def profile(args: argparse.Namespace) -> int:
    from rnr import profile as profiles

    return profiles.command(args)


def doctor(args: argparse.Namespace) -> int:
    from rnr import doctor as checks

    return checks.command(args)


def serve(args: argparse.Namespace) -> int:
    from rnr import serve_command

    return serve_command.command(args)


def parser() -> Parser:
    """All commands and their options."""
    top = Parser(prog="rnr", description="Diagnose and restore photos; train, judge and promote the models for it.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, action, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="machine-readable output on stdout")
        made.set_defaults(action=action)
        return made

    def add_model(made: argparse.ArgumentParser) -> None:
        made.add_argument("--model", metavar="REF", help=REF_HELP)
        made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")

    made = add("run", run, "run the pipeline: every stage that changed, then the gate and the promotion")
    made.add_argument("--parallelism", metavar="N", type=positive, help="stages at once (default: flow.parallelism)")
    made.add_argument("--warm-start", action="store_true", help="train on from the champion (default: from the bases)")
    made = add("restore", restore, "restore photos; beside each a .diagnosis.json says what was found before and after")
    made.add_argument("inputs", metavar="IN", nargs="+", help="photo or folder of photos")
    made.add_argument("-o", "--out", metavar="OUT", required=True, help="folder for the restored photos")
    made.add_argument("--edit", metavar="TYPE=SEVERITY", action="append", type=edit, help="overrule the diagnosis")
    made.add_argument("--strength", metavar="S", type=strength, default=1.0, help="0 (nothing) to 1 (all, the default)")
    add_model(made)
    made = add("diagnose", diagnose, "say what is wrong with photos, how severe, and why")
    made.add_argument("inputs", metavar="IN", nargs="+", help="photo or folder of photos")
    add_model(made)
    made = add("synthesize", synthesize, "degrade photos by a recipe that replays; or look at the physics")
    made.add_argument("inputs", metavar="IN", nargs="*", help="clean photo or folder of photos")
    made.add_argument("-o", "--out", metavar="OUT", help="folder for the degraded photos and their recipes")
    made.add_argument("--add", metavar="TYPE=SEVERITY", action="append", type=edit, help="a degradation (repeatable)")
    made.add_argument("--preset", choices=PRESETS, help="a published protocol instead of our own mixtures")
    made.add_argument(
        "--seed", metavar="N", type=positive, default=1, help="another number, other recipes (default: 1)"
    )
    made.add_argument("--replay", metavar="ROW", help="make the pair of this pair_id again and compare the bytes")
    made.add_argument("--gallery", metavar="DIR", help="write a sheet per degradation at severities 10 to 90")
    made = add("evaluate", evaluate, "restore degraded photos and measure them against their clean originals")
    made.add_argument("--clean", metavar="DIR", required=True, help="clean photos")
    made.add_argument("--degraded", metavar="DIR", required=True, help="the same photos degraded, under the same names")
    add_model(made)
    made = add("evaluate-reasoner", evaluate_reasoner, "judge the reasoner alone, beside baselines and its targets")
    made.add_argument(
        "--pairs", metavar="DIR", default="data/pairs", help="folder of pair shards (default: %(default)s)"
    )
    made.add_argument("--no-baseline", dest="baseline", action="store_false", help="measure the reasoner alone")
    add_model(made)
    made = add("app", app, "a page in the browser: drop photos, see the diagnosis, turn knobs, save the result")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    made.add_argument("--port", metavar="N", type=port, default=7860, help="0 for any free one (default: %(default)s)")
    add_model(made)
    made = add("profile", profile, "patch params.yaml for another machine")
    made.add_argument("what", choices=("list", "show", "apply"))
    made.add_argument("name", metavar="NAME", nargs="?", help="a file profiles/NAME.yaml")
    made = add("watch", watch, "look for new photos and tell the Prefect server, which starts the retraining")
    made.add_argument("sources", metavar="SOURCE", nargs="*", help="folder or s3://... (default: ingest.sources)")
    made.add_argument("--once", action="store_true", help="one look, for cron; unchanged photos take seconds")
    made.add_argument("--interval", metavar="S", type=seconds, default=300.0, help="between looks (default: 300)")
    made.add_argument(
        "--settle", metavar="S", type=seconds, default=30.0, help="changed photos must stay the same (default: 30)"
    )
    add("deploy", deploy, "put schedule, trigger and automations of prefect.yaml on the Prefect server")
    made = add("worker", worker, "carry out the server's runs in this clone, one at a time")
    made.add_argument("--name", metavar="NAME", help="as the server shows it (default: Prefect makes one up)")
    made = add("promote", promote, "measure the challenger at the gate; if it passes, make it the champion")
    made.add_argument("--dry-run", action="store_true", help="measure and judge, move nothing")
    made = add("rollback", rollback, "make an earlier version the champion again")
    made.add_argument("--to", metavar="VERSION", help="an earlier champion (default: the previous one)")
    add("history", history, "show every promotion, refusal and rollback, and whether that record is whole")
    add("models", models, "list the registered versions")
    made = add("serve", serve, "answer over HTTP: diagnose and restore photos for programs")
    made.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to open (default: %(default)s)")
    made.add_argument("--port", metavar="N", type=port, default=8000, help="0 takes a free one (default: %(default)s)")
    made.add_argument(
        "--token-from-env",
        metavar="NAME",
        default="RNR_TOKEN",
        help="environment variable with the token that requests must bear; needed where other machines can reach "
        "ADDRESS (default: %(default)s)",
    )
    made.add_argument(
        "--queue", metavar="N", type=positive, default=16, help="requests at once, others get a 429 (default: 16)"
    )
    made.add_argument("--max-mib", metavar="N", type=positive, default=25, help="of a photo's file (default: 25)")
    made.add_argument("--max-megapixels", metavar="N", type=positive, default=50, help="of a photo (default: 50)")
    made.add_argument(
        "--reload-every",
        metavar="S",
        type=seconds,
        default=30.0,
        help="seconds between looks for another champion, 0 for never (default: 30)",
    )
    add_model(made)
    add("doctor", doctor, "check this machine, the parameters and the state of the pipeline")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (argparse itself leaves with 2 on wrong options)."""
    redaction.install()
    args = parser().parse_args(argv)
    return console.guarded(lambda: args.action(args))


if __name__ == "__main__":
    sys.exit(main())
