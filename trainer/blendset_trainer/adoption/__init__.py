# SPDX-License-Identifier: Apache-2.0
"""Other people's pictures as a dataset: what layouts they come in, and how they become views."""
