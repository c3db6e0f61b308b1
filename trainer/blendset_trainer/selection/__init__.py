# SPDX-License-Identifier: Apache-2.0
"""Selections: rules over columns choose the views to train on, and give a reason for every other view."""
