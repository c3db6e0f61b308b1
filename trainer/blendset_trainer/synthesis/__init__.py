# SPDX-License-Identifier: Apache-2.0
"""Images that a generator makes from a dataset: views in new surroundings, new views, images of captions."""
