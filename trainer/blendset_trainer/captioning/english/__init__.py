# SPDX-License-Identifier: Apache-2.0
"""From facts to English: words, phrases, sentences."""
