# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders: one camera that is moved, settings that are restored, added light, pixels and ids read back, records."""
