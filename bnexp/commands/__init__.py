"""What each ``bnexp`` command does, one file each: ``add_arguments`` and ``main``."""

import warnings

# The launchers' configs go on top of the plugins' own, which have the same names.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated", UserWarning)
