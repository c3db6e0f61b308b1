# SPDX-License-Identifier: Apache-2.0
# What a developer runs. It needs Python (3.11 or 3.13), git and make, and makes two environments: the trainer's and Blender's.

newest := 5.2.3
newest_on_3.11 := 4.5.15
oldest := 4.2.23

bin := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
python := .venv/$(bin)/python
blendset := .venv/$(bin)/blendset
blender := .venv-blender/$(bin)/python
uv := $(python) -m uv
projects := pyproject.toml shared/pyproject.toml trainer/pyproject.toml

# Where the variable is set, each process would compile torch anew: half a minute of CPU, hundreds of times in a run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-long test-blenders test-acceptance test-ui guide lint types addon lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo           a room made on the spot becomes a dataset, that a training set, and that a small model"
	@echo "make test           the tests, in the trainer's environment and in Blender's"
	@echo "make test-blenders  the add-on in the oldest and the newest Blender ($(oldest), $(newest))"
	@echo "make test-long      500 damaged files, 200 odd settings: each named; chains killed in every step"
	@echo "make test-acceptance  slow suites: twenty kills at random moments"
	@echo "make test-ui        an afternoon in a real Blender window, by mouse and keyboard"
	@echo "make guide          the same, and the pictures of docs/artist.md"
	@echo "make addon          the installable zip"
	@echo "make lint types     ruff, mypy"
	@echo "make lock           newest versions of what constraints/ pins"
	@echo "make clean          remove all that this file makes"

demo: addon build/demo/room.blend
	$(blendset) render build/demo/room.blend --out build/demo/dataset --views 16 --resolution 256 --samples 24 --blender $(blender)
	$(blendset) verify build/demo/dataset
	$(python) -m blendset_trainer.contact_sheet build/demo/dataset build/demo/contact_sheet.png
	$(blendset) caption build/demo/dataset --with metadata
	$(blendset) score build/demo/dataset --with image-stats,ssim-roundtrip,phash >/dev/null
	rm -rf build/demo/dataset/selections build/demo/pairs
	$(blendset) select build/demo/dataset --preset blendset --name demo >/dev/null
	$(blendset) export build/demo/dataset --selection demo --to image-text --out build/demo/pairs
	$(blendset) render build/demo/room.blend --out build/demo/sets --config demo/orbit.toml --blender $(blender)
	test -f build/demo/depth-model/model_index.json || $(python) demo/depth_model.py build/demo/sets build/demo/depth-model
	$(blendset) synthesize restyle build/demo/sets --model build/demo/depth-model --views 4 --covisible 0 --steps 15 \
	  --prompt "a blue armchair at noon" --prompt "a red armchair at night"
	$(blendset) caption build/demo/sets --with metadata
	$(blendset) score build/demo/sets --with consistency
	$(blendset) report build/demo/sets --out build/demo/sets.html
	rm -rf build/demo/model build/demo/run build/demo/samples build/demo/restyled
	$(blendset) export build/demo/sets --to image-text --out build/demo/restyled
	$(python) demo/model.py build/demo/pairs build/demo/restyled build/demo/model
	$(blendset) train demo/train.toml --dry-run
	$(blendset) train demo/train.toml
	for each in build/demo/pairs/train/*.txt; do cat $$each; echo; done > build/demo/prompts.txt
	$(blendset) sample build/demo/run/model --prompts build/demo/prompts.txt --out build/demo/samples
	$(blendset) report build/demo/dataset --selection demo --training build/demo/run --out build/demo/report.html
	@echo
	@echo "Open build/demo/report.html in a browser: pictures, captions, figures, why each camera or view was left out, and what"
	@echo "the model lost by source and noise. build/demo/samples/grid.png is what it makes of its captions: it is tiny, and saw"
	@echo "two dozen pictures. build/demo/sets.html shows an armchair that a depth model restyled, below its renders."
	@echo "build/demo/pairs is what other trainers read, build/demo/contact_sheet.png all views at a glance; the dataset is"
	@echo "build/demo/dataset, its scene build/demo/room.blend."

build/demo/room.blend: $(wildcard demo/*.py demo/*.toml) Makefile | .venv-blender/.ready
	rm -rf build/demo
	$(blender) demo/room.py $@

test: addon .venv-blender/.ready
	$(python) tests/run.py core=$(python) core=$(blender) trainer=$(python) addon=$(blender)

test-blenders: addon
	@for each in $(oldest):3.11 $(newest):3.13; do \
	  if .ci/find-python $${each#*:} >/dev/null; then $(MAKE) --no-print-directory .venv-blender-$${each%:*}/.ready || exit; fi; \
	done
	$(python) tests/run.py core=.venv-blender-$(oldest)/$(bin)/python \
	  $(foreach version,$(oldest) $(newest),addon=.venv-blender-$(version)/$(bin)/python)

test-long: .venv/.ready
	$(python) tests/run.py long=$(python)

test-acceptance: addon .venv-blender/.ready
	$(python) tests/run.py acceptance=$(python)

# A real window needs root on Linux and some minutes; $BLENDSET_UI_ROOT names a Debian that has a Blender already.
test-ui: addon .venv-blender/.ready
	$(python) tests/run.py ui=$(python)

# The pictures of docs/artist.md, from the screenshots that test-ui has made.
guide: test-ui
	$(python) tests/ui/guide.py build/ui docs

lint: .venv/.ready
	$(python) -m ruff format --check .
	$(python) -m ruff check .

types: .venv/.ready
	$(python) -m mypy

addon: .venv/.ready
	$(python) build_addon.py

# Versions are locked in constraints/, without the names of package indexes: those are the user's own affair.
lock: .venv/.ready
	$(call compile,trainer) trainer/pyproject.toml --all-extras --no-emit-package blendset
	$(call compile,blender)
compile = $(uv) pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
  --output-file constraints/$(1).txt --group $(1) shared/pyproject.toml

.venv/.ready: constraints/trainer.txt $(projects)
	python="$$(.ci/find-python 3.11 3.13)" && "$$python" -m venv --clear .venv
	$(python) -m pip install --quiet --constraint constraints/trainer.txt uv
	$(uv) pip install --quiet --python $(python) --constraint constraints/trainer.txt \
	  --editable shared --editable "trainer[train,fid,prodigy,ray]" --group trainer
	@touch $@

# Only bpy itself, the core's dependencies and the test tools: the core comes with the add-on, and no trainer is ever here.
.venv-blender/.ready: constraints/blender.txt $(projects) | .venv/.ready
	if python="$$(.ci/find-python 3.13 2>/dev/null)"; then version=$(newest); \
	  else python="$$(.ci/find-python 3.11)" && version=$(newest_on_3.11); fi && $(blender_environment)
.venv-blender-$(oldest)/.ready: constraints/blender.txt $(projects) | .venv/.ready
	python="$$(.ci/find-python 3.11)" && version=$(oldest) && $(blender_environment)
.venv-blender-$(newest)/.ready: constraints/blender.txt $(projects) | .venv/.ready
	python="$$(.ci/find-python 3.13)" && version=$(newest) && $(blender_environment)
blender_environment = \
  $(uv) venv --quiet --clear --python "$$python" $(@D) && \
  $(uv) pip install --quiet --python $(@D)/$(bin)/python --constraint constraints/blender.txt \
    bpy==$$version --requirements shared/pyproject.toml --group blender && \
  touch $@

clean:
	rm -rf .venv .venv-blender* build dist trainer/blendset_trainer/addon .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
