# SPDX-License-Identifier: Apache-2.0
"""Blender as a child process: finding one, talking to it, and keeping a row of them at work.

The command line and the add-on's window drive the same supervisor; nothing here imports bpy.
"""
