# SPDX-License-Identifier: Apache-2.0
"""Intervals, and distances between sets of features: arithmetic that knows nothing of pictures."""
