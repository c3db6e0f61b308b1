# SPDX-License-Identifier: Apache-2.0
"""Stages of curation, captioners and scorers: what a stage is, how it runs, where its rows are, how it is found."""
