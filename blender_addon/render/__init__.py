# SPDX-License-Identifier: GPL-3.0-or-later
"""The render session: one moving camera, settings that are restored, light and exposure, views written whole."""
