# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels, lists and the viewport overlay: they show what is known and compute nothing."""
