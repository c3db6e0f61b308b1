# SPDX-License-Identifier: Apache-2.0
"""Compares ways of placing cameras."""
