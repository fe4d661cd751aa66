"""The command ``scnnc``, as the binary has it; also ``python -m scnnc``."""

import sys

from . import _native


def main():
    """Does what the command line says, and exits with its status."""
    sys.exit(_native.main([sys.executable, "-m", "scnnc"], sys.argv[1:], _native.__file__))


if __name__ == "__main__":
    main()
