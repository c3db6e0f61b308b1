# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do: poll, call, report."""
