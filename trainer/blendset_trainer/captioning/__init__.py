# SPDX-License-Identifier: Apache-2.0
"""Captions: stages that say in words what a view shows, and the check of what they say."""
