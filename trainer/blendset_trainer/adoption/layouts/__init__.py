# SPDX-License-Identifier: Apache-2.0
"""The layouts that pictures come in, one module per layout.

Each has a function `open_source(source)`, which returns a `PictureSource` whose pictures are read one by one.
"""
