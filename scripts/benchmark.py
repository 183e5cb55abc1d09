"""Speed, as ratios measured side by side: the same as ``bnexp bench``, whose options it takes."""

from __future__ import annotations

import sys

from bnexp.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
