# envtune: one command from a fresh machine to the paper's table. `make help` lists the targets.
#
#   make reproduce                       everything, with the profile that fits this machine
#   make reproduce PROFILE=gpu DRY_RUN=1 check the GPU run's configuration here, without a GPU
#   make reproduce PROFILE=mini          every arm with every seed of the profile's experiment, and the claims tested on them
#   make reproduce PROFILE=gpu BACKGROUND=1   the same, which outlives this terminal; make progress PROFILE=gpu says how far it is
#   make train PROFILE=cpu               one step alone; each goes on where it stopped
#
# Variables: PROFILE (a file in reproduce/), ARM (full, or an ablation), SEED, NNODES (of the Ray cluster at RAY_ADDRESS),
# DRY_RUN (1), BACKGROUND (1), PYTHON (an interpreter of 3.11 or 3.12), PYTEST_ARGS; for the ablations ARM and SEEDS (several,
# with spaces between); for calibrate ROW.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Without bytecode on disk each of the some twenty processes of a run compiles torch, vLLM and verl again.
unexport PYTHONDONTWRITEBYTECODE
# The environments below are used by path; one that happens to be active here must not leak into them.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

ifeq ($(strip $(PROFILE)),)
override PROFILE := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
endif
says = $(shell sed -n "s/^$(2): *[\"']\{0,1\}\([A-Za-z0-9.-]*\).*/\1/p" 'reproduce/$(strip $(1)).yaml' 2>/dev/null)
ifeq ($(filter cpu gpu,$(PROFILE))$(call says,$(PROFILE),name),)
$(error PROFILE=$(PROFILE) is none of: $(patsubst reproduce/%.yaml,%,$(shell grep -l '^name:' reproduce/*.yaml)); \
for a file elsewhere use .venv/bin/envtune or .venv-gpu/bin/envtune)
endif
# What a profile extends in the end, cpu or gpu, decides which environment it needs. Chains are short.
base = $(or $(call says,$(1),extends),$(1))
CHAIN := $(strip $(PROFILE)) $(call base,$(PROFILE)) $(call base,$(call base,$(PROFILE)))
PLATFORM := $(call base,$(call base,$(call base,$(PROFILE))))
ifeq ($(filter cpu gpu,$(PLATFORM)),)
$(error PROFILE=$(PROFILE) must extend cpu or gpu, which says what environment it needs)
endif
# The profile's `experiment`, of whichever file of the chain has one: all its runs are one job, unless SEED asks for one of them.
EXPERIMENT := $(if $(strip $(SEED)),,$(shell sed -n '/^experiment:/,/^[a-z]/p' $(CHAIN:%='reproduce/%.yaml') 2>/dev/null))
# Whether the suites are run on what was trained; an experiment may go by training's own validations.
EVALUATES := $(if $(findstring false,$(firstword $(filter evaluate:%,$(subst {, ,$(subst : ,:,$(EXPERIMENT)))))),,1)
# One run: a profile, an arm of the curriculum and a seed.
RUN := $(strip --profile $(PROFILE) $(if $(ARM),--arm $(ARM)) $(if $(SEED),--seed $(SEED)))
# What is made of all runs of an experiment lies with the profile, whatever arms were asked for.
ifneq ($(and $(EXPERIMENT),$(filter reproduce,$(MAKECMDGOALS))),)
RUN := --profile $(strip $(PROFILE))
endif
comma := ,
space := $(subst ,, )
export NNODES
ifeq ($(strip $(NNODES)),)
unexport NNODES
endif
DRY_RUN ?= 0
ifeq ($(filter 0 1,$(DRY_RUN)),)
$(error DRY_RUN=$(DRY_RUN) is neither 0 nor 1)
endif
BACKGROUND ?= 0
ifeq ($(filter 0 1,$(BACKGROUND)),)
$(error BACKGROUND=$(BACKGROUND) is neither 0 nor 1)
endif
ifeq ($(BACKGROUND)-$(filter reproduce,$(MAKECMDGOALS)),1-)
$(error BACKGROUND=1 is for reproduce)
endif

# The GPU profile has an environment of its own; its dry run and all tests use the CPU one.
CPU_LOCKS := requirements-cpu.txt requirements-torch-cpu.txt
GPU_LOCKS := requirements-gpu.txt
# What an environment was made from: its locks, the set-up itself, and the folder, which its scripts name.
key = $(shell { pwd; cat $(1) pyproject.toml envtune/bootstrap.py; } 2>/dev/null | sha256sum | cut -c1-16)
CPU_READY := .venv/.setup-$(call key,$(CPU_LOCKS))
GPU_READY := .venv-gpu/.setup-$(call key,$(GPU_LOCKS))
# The libraries of the adapters exclude the CPU profile's packages and each other; only their tests need them.
ADAPTERS := verifiers openenv
ADAPTERS_READY := $(foreach name,$(ADAPTERS),.venv-$(name)/.setup-$(call key,requirements-$(name).txt))
# Benchmarks of other packages, whose pins exclude verl's; evaluation starts them there by itself.
EVAL_READY := .venv-eval/.setup-$(call key,requirements-eval.txt requirements-torch-cpu.txt)

# A dry run takes the CPU environment, where there is no GPU one.
ifeq ($(PLATFORM)-$(if $(filter 1,$(DRY_RUN)),$(if $(wildcard $(GPU_READY)),0,1),0),gpu-0)
READY := $(GPU_READY)
BIN := .venv-gpu/bin
else
READY := $(CPU_READY)
BIN := .venv/bin
endif
ENVTUNE := $(BIN)/envtune

# In the background the same command runs in a session of its own. Its process is known by a lock on a file, which ends with it.
RUNS := $(or $(ENVTUNE_RUNS),runs)
JOB_NAME := $(subst $(space),.,$(strip $(PROFILE) $(ARM) $(addprefix seed,$(SEED) $(SEEDS))))
JOB := $(RUNS)/$(JOB_NAME)
AGAIN := $(MAKE)
HOW_FAR := make progress PROFILE=$(strip $(PROFILE))$(if $(EXPERIMENT),,$(if $(ARM),$(space)ARM=$(ARM))$(if $(SEED),$(space)SEED=$(SEED)))

# `reproduce` is its prerequisites, from left to right, each once.
ifeq ($(DRY_RUN),0)
WHOLE_JOB := $(if $(EXPERIMENT),setup $(if $(EVALUATES),setup-eval) ablations claims $(if $(EVALUATES),tables) figures report,\
setup setup-eval data train evaluate tables figures report)
BEFORE_TRAIN := data
else
WHOLE_JOB := setup $(if $(EXPERIMENT),ablations,train)
BEFORE_TRAIN := setup
ifneq ($(filter data evaluate tables figures report baselines calibrate,$(MAKECMDGOALS)),)
$(error DRY_RUN=1 is for reproduce, train and ablations)
endif
TRAIN_OPTIONS := --dry-run
endif

##@ The whole job

.PHONY: reproduce progress
reproduce: ## set up, data, train, evaluate, tables, figures, a report and a summary; all runs of an experiment, and its claims
ifeq ($(BACKGROUND),1)
	@mkdir -p '$(RUNS)' && touch '$(JOB).pid'
	@if ! flock --nonblock '$(JOB).pid' true; then \
		echo "$(JOB_NAME) is running already, as process $$(cat '$(JOB).pid'); see: $(HOW_FAR)" >&2; exit 1; \
	fi
	@: >'$(JOB).pid'
	@setsid --fork nohup flock --nonblock --no-fork '$(JOB).pid' bash -c 'echo $$$$ >"$$0.pid"; exec "$$@"' \
		'$(JOB)' $(AGAIN) --no-print-directory reproduce BACKGROUND=0 >>'$(JOB).log' 2>&1 </dev/null
	@for _ in $$(seq 100); do [ -s '$(JOB).pid' ] && break; sleep 0.1; done
	@sleep 1; if flock --nonblock '$(JOB).pid' true; then \
		{ echo "$(JOB_NAME) has ended already; the end of $(JOB).log:"; tail -n 5 '$(JOB).log'; } >&2; exit 1; \
	fi
	@echo "$(JOB_NAME) has begun, as process $$(cat '$(JOB).pid'), and does not need this terminal"
	@echo "  what it says:  tail -f $(JOB).log"
	@echo "  how far it is: $(HOW_FAR)"
	@echo "  to stop it:    kill -- -$$(cat '$(JOB).pid')    (this command again, and it goes on)"
else
reproduce: $(WHOLE_JOB)
ifeq ($(DRY_RUN),0)
	@$(ENVTUNE) summary $(RUN)
endif
endif

progress: setup ## how far the run is, or each run of the profile's experiment: stages, steps, time left, what failed
	@$(ENVTUNE) progress $(RUN)

##@ Its steps, each alone; a finished part is not repeated

.PHONY: setup setup-eval data train evaluate baselines calibrate tables figures claims report
setup: $(READY) ## make the environment with the locked packages (.venv, or .venv-gpu)
	@echo "environment ready: $(patsubst %/bin,%,$(BIN))"

setup-eval: $(EVAL_READY) ## make the environment of the benchmarks from other packages (.venv-eval)
	@echo "environment ready: .venv-eval"

data: setup ## fetch BFCL's pinned releases, prepare the starting model, write each stage's training rows
	@$(ENVTUNE) setup-model --profile $(PROFILE)
	@$(ENVTUNE) data $(RUN)

train: $(BEFORE_TRAIN) ## train the curriculum's stages, each from the last one's result; what was killed goes on
	@$(ENVTUNE) train $(RUN) $(TRAIN_OPTIONS)

evaluate: data $(EVAL_READY) ## evaluate the starting model and each stage's result on the profile's suites
	@$(ENVTUNE) evaluate $(RUN)

baselines: setup $(EVAL_READY) ## evaluate the models as released that the profile names, for rows beside its own
	@$(ENVTUNE) evaluate $(RUN) --baselines

calibrate: setup ## run a public model whose BFCL V3 numbers are published, and compare: is this set-up right (ROW=...)
	@$(ENVTUNE) calibrate --profile $(PROFILE) $(if $(ROW),--row $(ROW))

tables: setup ## write Tables 1 and 2 from the records and the paper's figures
	@$(ENVTUNE) tables $(RUN)

figures: setup ## draw the ablation figures and the training curves (results/PROFILE/figures)
	@$(ENVTUNE) figures $(RUN)

claims: setup ## test the claims on the held-out tasks of all the profile's runs (results/PROFILE/claims.md)
	@$(ENVTUNE) claims --profile $(PROFILE)

report: $(if $(EVALUATES),tables) figures ## write one page about the run or the experiment, and a run's model card (results/PROFILE/report.html, model_card.md)
	@$(ENVTUNE) report $(RUN)
	@$(if $(EXPERIMENT),,$(ENVTUNE) model-card $(RUN))

.PHONY: ablations
ablations: setup $(if $(EVALUATES),$(if $(filter 0,$(DRY_RUN)),$(EVAL_READY))) ## every arm with every seed, the profile's or all with 42 43 44 (ARM="single-stage binary-reward", SEEDS="42 43")
	@$(ENVTUNE) ablations --profile $(PROFILE) $(if $(ARM),--arm $(subst $(space),$(comma),$(strip $(ARM)))) \
		$(if $(SEEDS),--seeds $(subst $(space),$(comma),$(strip $(SEEDS)))) $(if $(filter 1,$(DRY_RUN)),--dry-run)

##@ Checks

.PHONY: doctor hints setup-adapters test test-slow test-faults test-image test-learning bench bench-eval regress audit-paper validate lint
doctor: setup ## can this machine run the profile: GPUs, memory, disk, network, packages
	@$(ENVTUNE) doctor --profile $(PROFILE)

test: $(CPU_READY) $(EVAL_READY) $(ADAPTERS_READY) ## run the tests, one short training run among them
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

test-slow: $(CPU_READY) $(EVAL_READY) ## run the slow tests: all four stages, a resume after kill -9, parity with BFCL on 10,000 edits
	@.venv/bin/python -m pytest -m slow $(PYTEST_ARGS)

test-faults: $(CPU_READY) ## kill a four-stage run more than twenty times, fill its disk, compare with an undisturbed run (1 hour)
	@.venv/bin/python -m pytest -m faults -s tests/faults $(PYTEST_ARGS)

test-image: $(CPU_READY) ## build the CPU image and run a shortened `make reproduce` in it (needs a Docker engine, or root)
	@.venv/bin/python -m pytest -m image -s tests/image $(PYTEST_ARGS)

test-learning: $(CPU_READY) ## does training learn: one run of stage 1 of the profile mini against the committed runs (20 minutes)
	@.venv/bin/python -m pytest -m learning -s tests/learning $(PYTEST_ARGS)

bench: $(CPU_READY) ## measure the environment beside bfcl-eval: speed, memory (3 minutes)
	@.venv/bin/python -m pytest -m bench -s tests/benchmarks --ignore tests/benchmarks/test_evaluation_speed.py $(PYTEST_ARGS)

bench-eval: $(CPU_READY) $(EVAL_READY) ## measure the evaluation of 400 tasks beside bfcl-eval's own (5 minutes)
	@.venv/bin/python -m pytest -m bench -s tests/benchmarks/test_evaluation_speed.py $(PYTEST_ARGS)

# The baseline is what git has: `tables` writes the run's records over results/. BASELINE and CANDIDATE: folders of records.
regress: setup ## is this machine's run worse than its records at git's HEAD, or CANDIDATE than BASELINE (Error 1: yes; 2: cannot be said)
	@$(ENVTUNE) regress $(if $(BASELINE),--baseline $(BASELINE),$(RUN)) $(if $(CANDIDATE),--candidate $(CANDIDATE))

validate: $(CPU_READY) ## replay all ground truths of both BFCL releases through the environment
	@.venv/bin/envtune validate

audit-paper: setup ## recompute the paper's own tables and say what does not add up
	@$(ENVTUNE) audit-paper

hints: $(CPU_READY) ## measure the hints on scripted policies over all tasks, and write results/hints (1 minute)
	@.venv/bin/envtune hints --out results/hints

setup-adapters: $(ADAPTERS_READY) ## make what the tests of the adapters need (.venv-verifiers, .venv-openenv)
	@echo "environments ready: $(foreach name,$(ADAPTERS),.venv-$(name))"

lint: $(CPU_READY) ## check style and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

##@ Upkeep

.PHONY: lock clean help
# Python 3.11's answer holds on 3.12 as well. The CPU lock leaves out what has no CPU build on PyPI: torch, which
# requirements-torch-cpu.txt holds, and torchvision, torchaudio, torchcodec and triton, which nothing here uses.
# OpenEnv's leaves out gradio, its page at /web: the server does without, and it is half of what would be installed.
# Versions move only with UPGRADE=--upgrade (or "--upgrade-package NAME").
COMPILE = .venv/bin/uv pip compile -q pyproject.toml --extra test --generate-hashes --python-version 3.11 \
	--python-platform x86_64-manylinux_2_31 --custom-compile-command 'make lock' $(UPGRADE)
lock: $(CPU_READY) ## write all lock files anew from pyproject.toml
	@printf '%s\n' torch torchvision torchaudio torchcodec triton | \
		$(COMPILE) --extra cpu --extra results --extra browser --extra checks --excludes - --output-file requirements-cpu.txt >/dev/null
	@printf '%s\n' torch torchvision torchaudio torchcodec triton | \
		$(COMPILE) --extra eval --excludes - --output-file requirements-eval.txt >/dev/null
	@$(COMPILE) --extra gpu --extra results --output-file requirements-gpu.txt >/dev/null
	@$(COMPILE) --extra verifiers --output-file requirements-verifiers.txt >/dev/null
	@echo gradio | $(COMPILE) --extra openenv --excludes - --output-file requirements-openenv.txt >/dev/null

clean: ## remove the environments and caches; runs/ and results/ stay
	@rm -rf .venv .venv-gpu .venv-eval $(addprefix .venv-,$(ADAPTERS)) .pytest_cache .ruff_cache .hypothesis .benchmarks build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nPROFILE=%s here (a file in reproduce/). DRY_RUN=1 checks a run without starting it.\nBACKGROUND=1 lets make reproduce outlive the terminal; make progress says how far it is.\n' '$(PROFILE)'

# The CPU path was measured on 3.11, the GPU packages are tested by their authors on 3.12; each does with the other.
$(CPU_READY): candidates := python3.11 python3.12 python3 python
$(GPU_READY): candidates := python3.12 python3.11 python3 python
$(CPU_READY): setup_of := cpu
$(GPU_READY): setup_of := gpu
$(EVAL_READY): candidates := python3.11 python3.12 python3 python
$(EVAL_READY): setup_of := eval
$(ADAPTERS_READY): candidates := python3.11 python3.12 python3 python
$(ADAPTERS_READY): setup_of = $(patsubst .venv-%,%,$(@D))

$(CPU_READY) $(GPU_READY) $(EVAL_READY) $(ADAPTERS_READY):
	@found=; without_pip=; \
	for name in $(or $(PYTHON),$(candidates)); do \
		for python in $$(type -aP "$$name" || true); do \
			"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null || continue; \
			if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break 2; fi; \
			without_pip=$$python; \
		done; \
	done; \
	if [ -z "$$found" ] && [ -n "$$without_pip" ]; then \
		version=$$("$$without_pip" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "$$without_pip (Python $$version) comes without venv. On Debian or Ubuntu: sudo apt-get install python$$version-venv" >&2; exit 1; \
	elif [ -z "$$found" ]; then \
		echo "No Python 3.11 or 3.12 found. Install one (on Debian 12 or Ubuntu 24.04: sudo apt-get install python3 python3-venv)," >&2; \
		echo "or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	"$$found" -I envtune/bootstrap.py --profile $(setup_of) --venv $(@D) --stamp $@
