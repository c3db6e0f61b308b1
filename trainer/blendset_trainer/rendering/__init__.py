# SPDX-License-Identifier: Apache-2.0
"""Blender as another process: which one, with which add-on, how to install one, and planning without rendering."""
