# SPDX-License-Identifier: GPL-3.0-or-later
"""Files outside the open one: which are lost, what depends on them, and what may stand in for them."""
