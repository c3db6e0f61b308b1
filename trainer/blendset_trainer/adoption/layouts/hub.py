# SPDX-License-Identifier: Apache-2.0
"""Fetches a dataset from the Hugging Face Hub with the library `datasets`, into its cache. Remote code is never run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blendset.errors import BlendsetError, SettingsError, describe_error
from blendset_trainer.adoption.layouts.rows import RowFiles

LOOK_SECONDS = 10
_NO_CODE = "Dataset scripts are no longer supported"
_SEVERAL_CONFIGS = "Config name is missing"


def fetch_dataset(name: str, config: str, revision: str) -> RowFiles:
    """Return the files of all splits of a dataset on the Hub, from the cache where they are there.

    Raises SettingsError where there is no such dataset or configuration, or which one is not clear; BlendsetError where
    the dataset cannot be fetched, or needs code of its own.
    """
    try:
        import datasets
        from huggingface_hub.utils import logging
    except ImportError as error:
        raise BlendsetError(
            f"{name} is on the Hugging Face Hub, which needs the library datasets; run "
            "'pip install blendset-trainer[adopt]'."
        ) from error
    logging.set_verbosity_error()  # errors are reported once, as BlendsetError
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()  # a command has a bar of its own
    with _explain_errors(name, config, revision):
        licence = _look_up_licence(name, revision)
        loaded = datasets.load_dataset(name, config or None, revision=revision or None)
    files = [(split, Path(file["filename"])) for split, rows in loaded.items() for file in rows.cache_files]
    return RowFiles(name.rpartition("/")[2], Path(datasets.config.HF_CACHE_HOME), files, licence, is_cache=True)


def _look_up_licence(name: str, revision: str) -> str:
    """The licence that the dataset's card says; raises at once where there is no such dataset, or no network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        card = HfApi().dataset_info(name, revision=revision or None, timeout=LOOK_SECONDS).card_data
    except OfflineModeIsEnabled:  # then what is in the cache is used
        return ""
    licence = card.get("license") if card else None
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or "")


@contextmanager
def _explain_errors(name: str, config: str, revision: str) -> Iterator[None]:
    """Raise what goes wrong on the way to a dataset as one sentence."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise BlendsetError(
            f"{name} is gated; accept its terms on huggingface.co and log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise SettingsError(f"{name} has no revision '{revision}' on the Hugging Face Hub; check it.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise SettingsError(
            f"{name} is neither a path here nor a dataset on the Hugging Face Hub; check it, or log in with "
            "`hf auth login` if it is private."
        ) from error
    except Exception as error:
        raise _translate(name, config, error) from error


def _translate(name: str, config: str, error: Exception) -> BlendsetError:
    """The sentence about what the library `datasets`, or the network under it, raises; it has no common kind."""
    text = str(error)
    if _NO_CODE in text or "trust_remote_code" in text:
        return BlendsetError(
            f"{name} needs code of its own to be read, which is never run; try {name}@refs/convert/parquet, or ask its "
            "owner for parquet files."
        )
    if _SEVERAL_CONFIGS in text:
        return SettingsError(f"{name} has several configurations; choose one as {name}:CONFIG ({_list_configs(text)}).")
    if config and "BuilderConfig" in text:
        return SettingsError(f"{name} has no configuration '{config}' ({_list_configs(text)}); choose one that it has.")
    if os.environ.get("HF_HUB_OFFLINE"):
        return BlendsetError(f"{name} is not in the cache ({describe_error(error)}); unset HF_HUB_OFFLINE to fetch it.")
    is_network = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    cure = "check the network" if is_network or "httpx" in type(error).__module__ else "choose one with pictures in it"
    return BlendsetError(
        f"{name} could not be fetched ({describe_error(error)}); {cure}, or give the path of a copy on this machine."
    )


def _list_configs(text: str) -> str:
    """The list of names in brackets that a message holds, without quotes."""
    return text.partition("[")[2].partition("]")[0].replace("'", "")
