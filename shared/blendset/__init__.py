# SPDX-License-Identifier: Apache-2.0
"""Blendset's core: the dataset on disk, cameras and placement, without Blender and without torch."""

__version__ = "0.1.0"
