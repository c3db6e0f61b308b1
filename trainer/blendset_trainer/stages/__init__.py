# SPDX-License-Identifier: Apache-2.0
"""Stages of curation: what one is, how it runs over a dataset, where its rows lie, and the table of all of them."""
