# SPDX-License-Identifier: Apache-2.0
"""Votes: a page on which people choose between two pictures, a model that does the same, and what the choices say."""
