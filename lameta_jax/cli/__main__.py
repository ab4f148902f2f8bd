"""`python -m lameta_jax.cli`, the same as `lameta`."""

import sys

from lameta_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
