# SPDX-License-Identifier: Apache-2.0
"""Ladders of training runs that differ in one thing: which of them draws better, and when that is clear."""
