# SPDX-License-Identifier: Apache-2.0
"""Columns of the dataset's table as arrays: numbers, texts and unit vectors, with NaN or "" where a view has none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset.options import find_nearest
from blendset_trainer.stages.catalogue import CAPTIONERS, SCORERS

Numbers = NDArray[np.float64]
"""(views,), NaN where a view has none."""
Vectors = NDArray[np.float32]
"""(views, dimensions), rows of length 1, NaN where a view has none."""


def read_numbers(table: pa.Table, name: str) -> Numbers:
    """Return a column's numbers (views,), NaN where a view has none; BlendsetError for a column of another type.

    Single precision is rounded to 7 decimals, so that a number written as 0.7 is at least 0.7.
    """
    values = get_column(table, name)
    kind = values.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise BlendsetError(f"Column '{name}' holds {kind} and no numbers; choose a column of figures.")
    numbers = np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan).to_numpy())
    return np.round(numbers, 7) if kind == pa.float32() else numbers


def read_texts(table: pa.Table, name: str) -> NDArray[np.str_]:
    """Return a column as texts (views,), empty where a view has none; BlendsetError for a column of lists."""
    values = get_column(table, name)
    if pa.types.is_nested(values.type):
        raise BlendsetError(f"Column '{name}' holds {values.type} and no texts; choose another column.")
    return np.asarray(pc.fill_null(pc.cast(values, pa.string()), "").to_pylist(), dtype=np.str_)


def read_unit_vectors(table: pa.Table, name: str) -> Vectors:
    """Return a column of embeddings or hashes as unit vectors (views, dimensions), NaN where a view has none.

    An embedding is normalized. The bits of a hexadecimal hash become ±1, so that two hashes that differ in h of b bits
    have the cosine 1 - 2h/b, and one search serves both. Raises BlendsetError for a column of another type.
    """
    values = get_column(table, name)
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    vectors = _read_bits(array, name) if pa.types.is_string(array.type) else _read_embeddings(array, name)
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors


def get_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column; BlendsetError, which says what would make it, where it is missing."""
    if name in table.column_names:
        return table[name]
    stage, _, column = name.partition(".")
    alike = next((other for other in table.column_names if column and other.endswith(f".{column}")), "")
    if column and not any(other.startswith(f"{stage}.") for other in table.column_names):
        cure = f"run {find_command(stage)}"
        cure += f", or use another scorer with --scorer {stage}={alike.split('.')[0]}" if alike else ""
    else:
        near = find_nearest(name, table.column_names)
        cure = f"did you mean '{near}'" if near else f"there are {', '.join(sorted(table.column_names))}"
    raise BlendsetError(f"No view has a column '{name}'; {cure}{'?' if cure.startswith('did') else '.'}")


def find_command(stage: str) -> str:
    """Return the command that computes the columns of the stage of this name, as far as the name tells."""
    for command, stages in (("score", SCORERS), ("caption", CAPTIONERS)):
        for name, usage in stages.usages.items():
            takes_model = usage != name  # whose name follows the stage's
            if stage == name or (takes_model and stage.startswith(f"{name}-")):
                here = f" (here {stage})" if takes_model else ""
                return f"'blendset {command} --with {usage}'{here}"
    return f"'blendset score' with {stage}"


def _read_embeddings(array: pa.Array, name: str) -> Vectors:
    if not (pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type)):
        raise BlendsetError(f"Column '{name}' holds {array.type} and no embeddings; choose an embedding.")
    lengths = pc.list_value_length(array)
    size = pc.max(lengths).as_py() or 1
    valid = pc.fill_null(pc.equal(lengths, size), False).to_numpy(zero_copy_only=False)
    vectors = np.full((len(array), size), np.nan, dtype=np.float32)
    vectors[valid] = array.filter(pa.array(valid)).flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    return vectors


def _read_bits(array: pa.Array, name: str) -> Vectors:
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    try:
        packed = [np.frombuffer(bytes.fromhex(text), dtype=np.uint8) for text in array.drop_null().to_pylist()]
        bits = np.unpackbits(np.stack(packed), axis=1) if packed else np.zeros((0, 64), dtype=np.uint8)
    except ValueError as error:
        raise BlendsetError(f"Column '{name}' holds texts that are no hashes; choose a perceptual hash.") from error
    vectors = np.full((len(array), bits.shape[1]), np.nan, dtype=np.float32)
    vectors[valid] = 2.0 * bits - 1.0
    return vectors
