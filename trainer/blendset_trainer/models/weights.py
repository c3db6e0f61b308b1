# SPDX-License-Identifier: Apache-2.0
"""Finds a model's weights and their revision: a local folder or file, or a repository on the Hugging Face Hub.

Only what the user names is fetched. What cannot be found or loaded is one BlendsetError. Torch is not imported.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import logging
from safetensors import SafetensorError

from blendset.errors import BlendsetError, describe_error
from blendset.files import READ_ERRORS, sha256_bytes, sha256_file
from blendset_trainer.models.memory import is_out_of_memory

logging.set_verbosity_error()  # errors are reported once, as BlendsetError

MODEL_FILES = "*.bin", "*.json", "*.jinja", "*.model", "*.pt", "*.pth", "*.safetensors", "*.txt"
"""The files that a model's answers depend on; a README is none."""

FINGERPRINT_BLOCKS, BLOCK_BYTES = 256, 1 << 16
"""How much of a large file a fingerprint reads."""

LIBRARY_ERRORS = *READ_ERRORS, ImportError, RuntimeError
"""What transformers, diffusers and open_clip raise for weights that they cannot load."""


@dataclass(frozen=True)
class Weights:
    """A model's weights: `source` is a local path or a hub id, `revision` the hash of the files or the hub's commit."""

    source: str
    revision: str
    local: bool

    @property
    def commit(self) -> str | None:
        """The commit to load from the hub; None for local files."""
        return None if self.local else self.revision


def find_model(name: str) -> Weights:
    """Return the transformers model in a local folder or on the hub; BlendsetError where it is not there."""
    source, index = find_model_index(name, "config.json")
    local = Path(source).is_dir()
    return Weights(source, compute_revision(Path(source) if local else index), local)


def find_model_index(name: str, index: str, revision: str = "") -> tuple[str, Path]:
    """Return a model's folder or hub id, and the path of its index file, such as config.json, which `index` names.

    A file on the hub is fetched. Raises BlendsetError where there is no such model, or no network.
    """
    folder = find_local_path(name)
    if folder is None:
        return name, fetch_hub_file(name, index, revision)
    if not (folder / index).is_file():
        raise BlendsetError(f"{folder} holds no model (it has no {index}); give a folder that save_pretrained made.")
    return str(folder), folder / index


def find_file(name: str) -> Path:
    """Return the path of a file of weights, a local path or OWNER/REPOSITORY/FILE on the hub, which is fetched.

    Raises BlendsetError where there is no such file, or no network.
    """
    path = find_local_path(name)
    if path is not None:
        return path
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not file:
        raise BlendsetError(f"{name} names no file of weights; give a path, or OWNER/REPOSITORY/FILE on the hub.")
    return fetch_hub_file(f"{owner}/{repository}", file)


def find_local_path(name: str) -> Path | None:
    """Return the path that a name is, or None for a hub id; BlendsetError for a path that does not exist."""
    path = Path(os.path.expanduser(name))
    if path.exists():
        return path
    if path.is_absolute() or name.startswith(("~", ".")) or "\\" in name:
        raise BlendsetError(f"{name} does not exist; give the path of a model, or its id on the Hugging Face Hub.")
    return None


def fetch_hub_file(repository: str, file: str, revision: str = "") -> Path:
    """Return the path of a file of a hub repository, from the cache where it is there; BlendsetError without it."""
    with explain_fetch_errors(repository):
        return Path(hf_hub_download(repository, file, revision=revision or None))


@contextmanager
def explain_fetch_errors(name: str) -> Iterator[None]:
    """Raise errors of the hub as one BlendsetError about the model `name`."""
    try:
        yield
    except GatedRepoError as error:
        raise BlendsetError(
            f"{name} is gated; accept its terms on huggingface.co and log in with `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BlendsetError(f"{name} is neither a path here nor a model on the Hugging Face Hub; check it.") from error
    except LocalEntryNotFoundError as error:
        raise BlendsetError(
            f"{name} needs the network and the Hugging Face Hub cannot be reached; "
            "connect, or give the path of a copy on this machine."
        ) from error
    except EntryNotFoundError as error:
        raise BlendsetError(
            f"{name} is a model of another kind ({describe_error(error)}); name one that fits."
        ) from error
    except OSError as error:  # HfHubHTTPError is one too
        raise BlendsetError(
            f"{name} could not be fetched ({describe_error(error)}); "
            "check the network, or give the path of a copy on this machine."
        ) from error


def compute_revision(path: Path) -> str:
    """Return the commit of a file in the hub's cache, else the SHA-256 of a file or of a folder's model files."""
    if path.parent.parent.name == "snapshots":
        return path.parent.name
    if path.is_file():
        return sha256_file(path)
    files = sorted({file for pattern in MODEL_FILES for file in path.rglob(pattern) if file.is_file()})
    lines = [f"{sha256_file(file)} {file.relative_to(path).as_posix()}\n" for file in files]
    return sha256_bytes("".join(lines).encode())


def fingerprint_files(files: Iterable[Path], root: Path) -> str:
    """Return a hash over names, sizes and parts of the content of files below `root`, in a moment for any size.

    Of a large file only blocks that are spread over it are read: another training changes every one of them.
    """
    hasher = hashlib.sha256()
    for path in sorted(files):
        size = path.stat().st_size
        hasher.update(f"{path.relative_to(root).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            for start in range(0, size, max(size // FINGERPRINT_BLOCKS, BLOCK_BYTES)):
                file.seek(start)
                hasher.update(file.read(BLOCK_BYTES))
    return hasher.hexdigest()


@contextmanager
def explain_use_errors(name: str) -> Iterator[None]:
    """Raise errors of a library that computes with the model `name` as one BlendsetError: what was loaded does not fit
    together. Too little memory is another matter, and passes."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise BlendsetError(
            f"{name} was loaded and cannot be used ({describe_error(error)}); get the model anew, or name another."
        ) from error


@contextmanager
def explain_load_errors(name: str, kind: str) -> Iterator[None]:
    """Raise errors of a library that loads the model `name` as one BlendsetError; `kind` is what it should be."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (*LIBRARY_ERRORS, SafetensorError, UnpicklingError)) and type(error) is not Exception:
            raise  # of Exception itself, for tokenizers raises nothing else where a tokenizer.json is damaged
        raise BlendsetError(
            f"{name} cannot be loaded as {kind} ({describe_error(error)}); name a model of that kind, whole and in its "
            "library's own code (remote code stays off)."
        ) from error
