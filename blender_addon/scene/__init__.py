# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions asked of the open scene: what renders, where it stands, what it is made of, what would light it."""
