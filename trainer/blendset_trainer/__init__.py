# SPDX-License-Identifier: Apache-2.0
"""The companion of Blendset's add-on: the command line, and beside a GPU all that makes models of datasets."""
