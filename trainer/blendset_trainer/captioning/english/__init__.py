# SPDX-License-Identifier: Apache-2.0
"""Language generation: from facts to phrases, sentences and captions."""
