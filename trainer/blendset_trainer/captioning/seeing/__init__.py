# SPDX-License-Identifier: Apache-2.0
"""Computer vision: from a view's pixels and records to facts about objects, surfaces, relations, camera and light."""
