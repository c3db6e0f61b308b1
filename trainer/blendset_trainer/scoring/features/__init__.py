# SPDX-License-Identifier: Apache-2.0
"""Scorers that embed pictures, for sets to be compared in what they embed."""
