# SPDX-License-Identifier: Apache-2.0
"""Datasets in the formats of other programs, one module per format.

Each has a function `export(source, out)`, which fills an empty folder and returns how many views it wrote.
"""
