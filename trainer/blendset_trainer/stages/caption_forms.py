# SPDX-License-Identifier: Apache-2.0
"""The forms of captions, each a column of text in what captioners write."""

SHORT, DENSE = "short", "dense"
"""One sentence, and a paragraph."""
CAPTION_FORMS = (SHORT, DENSE)
