# SPDX-License-Identifier: Apache-2.0
"""The colours that contact sheets and plots share, as sRGB in hexadecimal."""

PAPER, INK, GREY, RED = "#F7F6F3", "#26282B", "#75787D", "#B3261E"
"""Background, text, secondary text, and what failed."""
SERIES_COLOURS = ("#3B6EA5", "#D08A2E", "#4C8C5A", "#A8516E", "#6A5FA0", "#2F8F8B")
"""One for each subject or source, in order; they start over where there are more."""
