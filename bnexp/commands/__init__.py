"""What each ``bnexp`` command does, one file each: ``add_arguments`` and ``main``."""
