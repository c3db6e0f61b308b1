# SPDX-License-Identifier: Apache-2.0
"""Captions by a vision-language model: what it is asked, and how its answers are read."""
