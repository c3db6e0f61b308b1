# SPDX-License-Identifier: Apache-2.0
"""`python -m blendset_trainer.contact_sheet DATASET SHEET.png`: all views of a dataset at a glance."""

import sys

from blendset_trainer.reporting.contact_sheet import main

if __name__ == "__main__":
    sys.exit(main())
