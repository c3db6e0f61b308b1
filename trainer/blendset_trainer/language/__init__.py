# SPDX-License-Identifier: Apache-2.0
"""English words: from labels to nouns, and the small grammar of noun phrases."""
