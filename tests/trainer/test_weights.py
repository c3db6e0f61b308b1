# SPDX-License-Identifier: Apache-2.0
"""Where weights come from: local paths by the hash of their files, the hub only by name, all faults in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from tokenizers import Tokenizer

from blendset.errors import BlendsetError
from blendset_trainer.models.weights import compute_revision, explain_load_errors, find_file, find_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


def test_a_local_models_revision_is_its_content(folder: Path, tmp_path: Path) -> None:
    first = find_model(str(folder))
    assert (first.local, first.commit) == (True, None)
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("What it is.")
    assert find_model(str(copy)).revision == first.revision
    (copy / "model.safetensors").write_bytes(b"Weights")
    assert find_model(str(copy)).revision != first.revision


def test_a_hub_models_revision_is_its_commit(tmp_path: Path) -> None:
    file = tmp_path / "models--owner--name" / "snapshots" / "0123abc" / "config.json"
    assert compute_revision(file) == "0123abc"


def test_what_is_not_there_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BlendsetError, match="missing does not exist"):
        find_model(str(tmp_path / "missing"))
    with pytest.raises(BlendsetError, match=r"has no config\.json"):
        find_model(str(tmp_path))
    with pytest.raises(BlendsetError, match="OWNER/REPOSITORY/FILE"):
        find_file("head.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BlendsetError, match="some-owner/some-model needs the network"):
        find_model("some-owner/some-model")


def test_nothing_is_asked_of_the_hub_for_a_local_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blendset_trainer.models.weights.hf_hub_download", None)
    assert find_model(str(folder)).source == str(folder)
    assert find_file(str(folder / "model.safetensors")) == folder / "model.safetensors"


def test_a_librarys_complaint_becomes_one_sentence() -> None:
    with (
        pytest.raises(BlendsetError, match=r"^it cannot be loaded as a model \(first line\); [^\n]*$"),
        explain_load_errors("it", "a model"),
    ):
        raise ValueError("first line.\nsecond line")


def test_a_damaged_tokenizer_is_one_sentence_and_other_errors_stay_what_they_are() -> None:
    with (
        pytest.raises(BlendsetError, match=r"^it cannot be loaded as a model \("),
        explain_load_errors("it", "a model"),
    ):
        Tokenizer.from_str('{"post_processor": []}')  # which raises Exception itself
    with pytest.raises(BlendsetError, match=r"^as it is$"), explain_load_errors("it", "a model"):
        raise BlendsetError("as it is")
    with pytest.raises(AssertionError), explain_load_errors("it", "a model"):
        raise AssertionError
