# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning, for the window and for the worker alike: reading a scene, choosing cameras, previewing them."""
