# SPDX-License-Identifier: Apache-2.0
"""Which views are trained on: rules over columns in, a named list of views with a reason for every drop out."""
