# SPDX-License-Identifier: Apache-2.0
"""The data of a training run: sources, sampler, loader, transforms, references, and the cache of features."""
