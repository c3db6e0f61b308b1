# SPDX-License-Identifier: Apache-2.0
"""Captions by a vision-language model: the prompts, the requests, and how replies become captions."""
