# SPDX-License-Identifier: Apache-2.0
"""Models of any kind: where their weights are, how they are loaded, and what to do when memory runs out."""
