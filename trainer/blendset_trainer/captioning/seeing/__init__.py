# SPDX-License-Identifier: Apache-2.0
"""From a view's pixels and records to facts: things, colours, shapes, surfaces, relations."""
