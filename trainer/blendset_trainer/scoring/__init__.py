# SPDX-License-Identifier: Apache-2.0
"""Figures about views, computed once: thresholds are for the selection, so that changing one computes nothing again."""
