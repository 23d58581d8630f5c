"""The benchmark of posteriors: every method on the same cases, beside the exact one.

`python studies/pde-posteriors/run.py --train` trains the priors that are missing and runs what is
left; the page and the records lie beside this file, the steps in `--out`. A small trial:
`python studies/pde-posteriors/run.py --cases 4 --seeds 1 --only poisson --page /tmp/trial`.
"""

import argparse
import sys
from pathlib import Path

from heatgrad.cli.steps import StepsShown
from heatgrad.core.errors import HeatgradError, RunError
from heatgrad.report.findings import write_findings
from heatgrad.report.posteriors import posterior_findings
from heatgrad.solving import (
    BenchmarkSpec,
    benchmark_priors,
    run_benchmark,
    train_prior,
    write_records,
)

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    standard = BenchmarkSpec()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=standard.cases, help="solutions a seed")
    parser.add_argument("--seeds", type=int, default=standard.seeds, help="masks of sensors")
    parser.add_argument("--draws", type=int, default=standard.draws, help="draws a case")
    parser.add_argument("--dps-cases", type=int, default=standard.dps_cases, help="of a seed")
    parser.add_argument("--adam-cases", type=int, default=standard.adam_cases, help="of a seed")
    parser.add_argument(
        "--only", nargs="*", default=[], help="beginnings of problem/direction/method"
    )
    parser.add_argument("--train", action="store_true", help="train missing priors first")
    parser.add_argument("--out", type=Path, default=Path("runs/pde-posteriors"), help="steps")
    parser.add_argument("--page", type=Path, default=HERE, help="folder of page and records")
    return parser.parse_args()


def main() -> None:
    """Run what is left, and write the page and the records."""
    asked = arguments()
    problems = BenchmarkSpec().problems
    if asked.only:
        wanted = {part.partition("/")[0] for part in asked.only}
        problems = tuple(name for name in problems if name in wanted)
    spec = BenchmarkSpec.model_validate(
        {
            "problems": problems,
            "cases": asked.cases,
            "seeds": asked.seeds,
            "draws": asked.draws,
            "dps_cases": asked.dps_cases,
            "adam_cases": asked.adam_cases,
        }
    )
    with StepsShown() as shown:
        if asked.train:
            for problem in problems:
                for prior in benchmark_priors(spec, problem).values():
                    train_prior(prior, tell=shown.tell, progress=shown.progress)
        found = run_benchmark(spec, asked.out, only=asked.only, tell=shown.tell)
    asked.page.mkdir(parents=True, exist_ok=True)
    write_findings(posterior_findings(found), asked.page / "posteriors.html")
    write_records(found, asked.page / "records.csv")
    print(asked.page / "posteriors.html")


if __name__ == "__main__":
    try:
        main()
    except HeatgradError as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, RunError) else 2)
    except KeyboardInterrupt:
        print("run.py: interrupted; the same command goes on after the last step", file=sys.stderr)
        sys.exit(1)
