"""Does everything to runs that may happen to them, and counts the values that come out otherwise.

    python scripts/soak.py [--minutes 10] [--seed 0]

Every normalisation, in a tiny VGG-11 and in a tiny deep linear network, meets the faults of
``tests/faults.py`` at random moments. Prints one line of figures; leaves with 1 if a value differs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # also in the processes that it starts

from tests.faults import COMMON, FAULTS, KINDS, NORMS, make, soak


def main() -> int:
    """Soak every norm in both kinds of network; returns the exit code."""
    parser = argparse.ArgumentParser(description="Disturbs runs and compares what comes of them.")
    parser.add_argument("--minutes", type=float, default=10, help="default: 10")
    parser.add_argument("--seed", type=int, default=0, help="of faults and moments")
    given = parser.parse_args()
    begin, rng, total = time.monotonic(), random.Random(given.seed), Counter[str]()
    while time.monotonic() - begin < 60 * given.minutes:
        kind, norm = rng.choice([*KINDS]), rng.choice(NORMS)
        with tempfile.TemporaryDirectory() as out:
            case = make(Path(out), *KINDS[kind], *COMMON, f"norm={norm}")
            faults, values, wrong = soak(case, rng.choices([*FAULTS], k=6), rng)
        total.update({"runs": 1, "values": values, "differing": wrong, **faults})
        print(f"{kind} {norm}: {wrong} values differ after {dict(faults)}", file=sys.stderr)
    print(json.dumps({"seconds": round(time.monotonic() - begin), **total}))
    return 1 if total["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
