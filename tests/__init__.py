# SPDX-License-Identifier: Apache-2.0
"""The tests. A package, for others (torch-fidelity) install one of this name."""
