# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the open scene: what renders, where it stands, what it is made of. Changes to it are taken back."""
