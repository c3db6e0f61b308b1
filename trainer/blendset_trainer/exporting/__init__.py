# SPDX-License-Identifier: Apache-2.0
"""Datasets in the formats of others: one module per format, each a function from a source to a folder.

`export(source, out)` fills an empty folder and returns how many views went into it.
"""
