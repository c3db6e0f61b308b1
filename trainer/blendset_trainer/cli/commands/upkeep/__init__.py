# SPDX-License-Identifier: Apache-2.0
"""Commands that look after the machine, and make nothing of a dataset."""
