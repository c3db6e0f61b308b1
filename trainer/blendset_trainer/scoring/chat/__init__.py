# SPDX-License-Identifier: Apache-2.0
"""Scorers by chat models that read pictures."""
