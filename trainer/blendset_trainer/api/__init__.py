# SPDX-License-Identifier: Apache-2.0
"""What the functions of the library have in common: progress, and the names that other packages may add."""
