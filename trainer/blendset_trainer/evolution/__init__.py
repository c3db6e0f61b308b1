# SPDX-License-Identifier: Apache-2.0
"""Rounds in which a model is trained on its own selected pictures, beside trusted ones, and judged by others."""
