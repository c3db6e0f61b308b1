# SPDX-License-Identifier: Apache-2.0
"""Blender as another process: which one, with which add-on, and how to make one where there is none."""
