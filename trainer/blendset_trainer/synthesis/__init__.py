# SPDX-License-Identifier: Apache-2.0
"""Pictures that a generator makes from a dataset: views in new surroundings, new views, pictures of captions."""
