from __future__ import annotations

import subprocess
import sys

import pytest

from bnexp.data import fingerprint, load_dataset
from bnexp.errors import UserError


@pytest.mark.parametrize("name", ["mnist", None, 3, ["digits"]])
def test_unknown_name_lists_the_known_ones(name: object) -> None:
    for ask in (fingerprint, lambda cfg: load_dataset(cfg, 0)):
        with pytest.raises(
            UserError, match=r"data\.name: got .* cifar10, digits, gaussian, images"
        ):
            ask({"name": name})


def test_importing_loads_none_of_the_readers() -> None:
    program = (
        "import sys, torch; before = set(sys.modules); import bnexp.data;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new & {'PIL', 'sklearn', 'scipy', 'torchvision', 'platformdirs', 'tqdm'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, [])
