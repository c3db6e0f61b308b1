# SPDX-License-Identifier: Apache-2.0
"""`python -m blendset_trainer.cli`, which `accelerate launch -m` runs too."""

import sys

from blendset_trainer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
