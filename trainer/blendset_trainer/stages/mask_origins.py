# SPDX-License-Identifier: Apache-2.0
"""Where the mask of a picture's subject comes from, by the names that users write and records hold."""

AUTO = "auto"
"""The first that has one."""
RENDER_PASSES, OBJECT_IDS, ALPHA, BACKGROUND, SEGMENTER = MASKS = ("passes", "ids", "alpha", "background", "segmenter")
