# SPDX-License-Identifier: Apache-2.0
"""Diffusion models: one model of a loaded pipeline, for training, sampling and synthesis."""
