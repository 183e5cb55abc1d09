"""What each ``bnexp`` command does, one file each; ``bnexp/cli.py`` parses and calls them."""
