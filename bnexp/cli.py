"""The ``bnexp`` command: parses, calls, and turns what went wrong into an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp import __version__
from bnexp.errors import UserError

EXIT_FAILED, EXIT_USAGE = 1, 2

OVERRIDES = "Hydra overrides such as norm=bn optim.lr=0.1 seed=0,1,2"


class _Parser(argparse.ArgumentParser):
    """One line on stderr for bad usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="bnexp",
        description="What batch normalisation does to optimisation, settled by measurement.",
    )
    top.add_argument("--version", action="version", version=f"bnexp {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    train = commands.add_parser(
        "train",
        add_help=False,
        help="one run, or with -m a sweep; prints the run's directory last",
    )
    train.add_argument("overrides", nargs=argparse.REMAINDER, help=OVERRIDES)

    reproduce = commands.add_parser(
        "reproduce",
        help="the runs that figures need and that are missing, then figures and claims",
        description="Makes the runs that figures need and that are missing, draws the figures, "
        "and judges the claims.",
    )
    reproduce.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="preset=quick|cpu|paper, figures=all|1,4,.., out=DIR, and " + OVERRIDES,
    )
    reproduce.add_argument(
        "--dry-run", action="store_true", help="only say which runs there are and would be made"
    )
    _figure_options(reproduce)

    figures = commands.add_parser("figures", help="only draws, from the runs that are there")
    figures.add_argument("ids", nargs="*", metavar="ID", help="figures to draw (default: all)")
    _runs_option(figures)
    figures.add_argument("--out", type=Path, help="where to put them (default: beside the runs)")
    _figure_options(figures)

    claims = commands.add_parser("claims", help="the verdict on every claim of the paper")
    claims.add_argument("ids", nargs="*", metavar="ID", help="claims to judge (default: all)")
    _runs_option(claims)
    claims.add_argument("--json", action="store_true", help="print them as JSON")
    claims.add_argument("--out", type=Path, metavar="DIR", help="also write table and figure there")
    claims.add_argument("--format", default="png,pdf", help="of the figure (default: png,pdf)")

    runs = commands.add_parser("runs", help="what is there: id, config, state, progress")
    _runs_option(runs)

    compact = commands.add_parser(
        "compact", help="copies runs with small tables, to keep and share, and sums them up"
    )
    _runs_option(compact)
    compact.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    compact.add_argument(
        "--layers", default="", help="whose distributions to keep: 1,11,24 (default: all)"
    )
    compact.add_argument(
        "--samples",
        type=int,
        default=256,
        metavar="N",
        help="values to keep of each distribution (default: 256)",
    )

    theory = commands.add_parser(
        "theory",
        help="checks the paper's theorems numerically, on random networks and on runs",
        description="Both sides of every theorem, in float64, on random networks; with --runs also "
        "on the layers of trained networks and the batches of their last steps. Exit code 1 when a "
        "statement that must hold does not.",
    )
    theory.add_argument("--cases", type=int, default=200, help="random networks (default: 200)")
    theory.add_argument("--seed", type=int, default=0, help="of the random networks (default: 0)")
    theory.add_argument(
        "--runs", type=Path, metavar="DIR", help="also on the finished runs in this folder"
    )
    theory.add_argument(
        "--run",
        metavar="ID",
        help="only this run, an id or the start of one (default: one of each network with BN, "
        "noisy BN and none)",
    )
    theory.add_argument(
        "--layers", default="", help="all, or numbers: 1,13 (default: four, evenly spread)"
    )
    theory.add_argument("--units", type=int, default=2, help="units of each layer (default: 2)")
    theory.add_argument("--json", action="store_true", help="the numbers as JSON, and nothing else")

    bench = commands.add_parser("bench", help="how fast it is, as ratios measured side by side")
    bench.add_argument("--out", type=Path, metavar="FILE", help="also write the numbers as JSON")
    bench.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    bench.add_argument("--threads", type=int, help="CPU threads (default: as torch chooses)")
    bench.add_argument(
        "--seconds", type=float, default=4.0, help="for each comparison (default: 4)"
    )
    bench.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="measure nothing: make the tables in this Markdown file from what was measured",
    )
    return top


def _runs_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runs", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs"
    )


def _figure_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", default="png,pdf", help="default: png,pdf")
    command.add_argument("--no-paper", action="store_true", help="leave the paper's own curves out")


def _overrides_anywhere(arguments: argparse.Namespace, more: Sequence[str]) -> None:
    """Let ``KEY=VALUE`` stand on either side of an option, which argparse does not."""
    takes = isinstance(getattr(arguments, "overrides", None), list)
    for argument in more:
        if not takes or argument.startswith("-"):
            raise UserError(f"{argument}: bnexp {arguments.command} has no such option")
        arguments.overrides.append(argument)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        # argparse would take train's own options (-m, --cfg) for its own.
        if given[:1] == ["train"]:
            from bnexp.commands import train

            return train.run(given[1:])
        arguments, more = parser().parse_known_args(given)
        _overrides_anywhere(arguments, more)
        if arguments.command == "reproduce":
            from bnexp.commands import reproduce

            return reproduce.run(
                arguments.overrides,
                formats=arguments.format,
                paper=not arguments.no_paper,
                dry_run=arguments.dry_run,
            )
        if arguments.command == "figures":
            from bnexp.commands import figures

            return figures.run(
                arguments.ids,
                runs=arguments.runs,
                out=arguments.out,
                formats=arguments.format,
                paper=not arguments.no_paper,
            )
        if arguments.command == "claims":
            from bnexp.commands import claims

            return claims.run(
                arguments.ids,
                runs=arguments.runs,
                out=arguments.out,
                json_only=arguments.json,
                formats=arguments.format,
            )
        if arguments.command == "compact":
            from bnexp.commands import compact

            return compact.run(arguments.runs, arguments.out, arguments.layers, arguments.samples)
        if arguments.command == "theory":
            from bnexp.commands import theory

            return theory.run(
                theory.Asked(
                    cases=arguments.cases,
                    seed=arguments.seed,
                    runs=arguments.runs,
                    run=arguments.run,
                    layers=arguments.layers,
                    units=arguments.units,
                ),
                as_json=arguments.json,
            )
        if arguments.command == "bench":
            from bnexp.commands import bench

            if arguments.document is not None:
                return bench.fill(arguments.document)
            return bench.run(
                arguments.out,
                device=arguments.device,
                threads=arguments.threads,
                seconds=arguments.seconds,
            )
        from bnexp.commands import runs

        return runs.run(arguments.runs)
    except UserError as error:
        print(f"bnexp: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
