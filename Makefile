# `make help` lists the targets. Recipes are short; what they call lies in tools/ and runs without make, too.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTEST_ARGS ?=

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: setup
setup: ## Install what is missing: packages, Python environment, engine, libvirt
	@tools/setup

.PHONY: up
up: ## The demo: set-up, base image, a Cloud PC for each of two users, and how to connect
	@echo 'The demo: what is missing is installed, its base image is built (about a minute, once) and brought to the host.'
	@tools/setup sh -c '.venv/bin/cloudpc image build debian-12 && .venv/bin/cloudpc image upload demo'
	@. .cloudpc/env && cloudpc up demo $(if $(CLEAR_LOCK),--clear-lock)
	@echo 'For pulumi and cloudpc in this shell:  . .cloudpc/env'

.PHONY: desktop
desktop: ## A Cloud PC with a desktop for one user, and how to open it (its image takes about two minutes, once)
	@for file in tools/desktop/*.yaml; do [ -e "stacks/$${file##*/}" ] || cp "$$file" stacks/; done
	@tools/setup sh -c '.venv/bin/cloudpc image build debian-12-desktop && .venv/bin/cloudpc image upload desktop'
	@. .cloudpc/env && cloudpc up desktop $(if $(CLEAR_LOCK),--clear-lock)
	@echo 'Open it in a browser:  . .cloudpc/env && cloudpc serve --as dora'
	@echo 'or in FreeRDP or Remmina, in a graphical session:  . .cloudpc/env && cloudpc connect dora --desktop'
	@echo 'Remove it:  . .cloudpc/env && cloudpc down desktop'

.PHONY: down
down: ## Remove the demo whole, after asking (YES=1: without); caches stay
	@[ -t 0 ] || [ -n "$(YES)" ] || echo 'Nobody is there to be asked: make down YES=1'
	@if [ -f .cloudpc/env ]; then . .cloudpc/env && cloudpc down demo $(if $(YES),--yes) $(if $(CLEAR_LOCK),--clear-lock); \
	else echo 'There is no demo to remove.'; fi

.PHONY: check
check: setup ## Lint, format, types and the direction of imports (`make test` has them, too)
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

.PHONY: test
test: setup ## The whole test suite (PYTEST_ARGS for more arguments)
	@tools/packages test
	@tools/web/fetch --with-tests
	@PATH="$$(tools/engine/find):$$PATH" .venv/bin/pytest -n auto --dist loadgroup $(PYTEST_ARGS)

.PHONY: golden
golden: setup ## What people read, written again into tests/golden/said; review its diff
	@tools/packages test
	@CLOUDPC_UPDATE_GOLDEN=1 PATH="$$(tools/engine/find):$$PATH" .venv/bin/pytest -n auto --dist loadgroup tests/golden

.PHONY: screenshots
screenshots: setup ## The pictures of docs/screenshots, where what they show has changed
	@CLOUDPC_UPDATE_GOLDEN=1 PATH="$$(tools/engine/find):$$PATH" .venv/bin/pytest tests/golden/test_screenshots.py

.PHONY: page-screenshots
page-screenshots: setup ## The pictures of pages in docs/screenshots, taken in Chromium
	@tools/packages test
	@tools/web/fetch --with-tests
	@PATH="$$(tools/engine/find):$$PATH" .venv/bin/python -m tests.web.pictures

.PHONY: reference
reference: setup ## docs/reference, from the code and the schemas
	@.venv/bin/python tools/reference

.PHONY: site
site: ## The documents as a site, in build/site; links and anchors are checked
	@tools/site/build

.PHONY: dist
dist: setup ## Wheel and source distribution, in dist/
	@rm -rf dist && tools/dist dist

SUITE ?= trixie
.PHONY: try-debian
ifneq ($(and $(filter try-debian,$(MAKECMDGOALS)),$(TESTS),$(GUESTS)),)
$(error TESTS=… and GUESTS=… at once: run `make try-debian` with one, then with the other)
endif
try-debian: setup ## README's lines for an installed package, on a fresh Debian (SUITE=trixie); as root. TESTS=tests: the suite without guests there; GUESTS=…: tests with guests
	@tools/try-debian $(SUITE) $(if $(TESTS),sh /root/suite $(TESTS))$(if $(GUESTS),sh /root/guests $(GUESTS))

.PHONY: world
world: setup ## A million steps of random histories against the lifecycle's rules; half an hour
	@HYPOTHESIS_PROFILE=thorough CLOUDPC_WORLD_STEPS=1000000 .venv/bin/pytest --timeout=0 tests/core/test_world.py

.PHONY: clones
clones: setup ## 16 clones at once, and all that must differ between them; a clone beside one that has booted; five minutes
	@CLOUDPC_CLONES=16 .venv/bin/pytest --timeout=0 -n0 tests/machines/test_clones.py -k share_nothing
	@CLOUDPC_CLONES_OF=debian-12 .venv/bin/pytest --timeout=0 -n0 tests/machines/test_clone_as_booted.py

.PHONY: mutants
mutants: setup ## Small changes of the modules that decide: does a test notice each? Half an hour
	@nice -n 15 .venv/bin/python tools/mutants $(MUTANTS)

.PHONY: kill-trial
kill-trial: setup ## Kills runs of 300 Cloud PCs at 20 random moments, and looks that nothing is lost; about an hour
	@PATH="$$(tools/engine/find):$$PATH" .venv/bin/python -m tests.engine.kill_trial

.PHONY: bench
bench: setup ## The benchmarks of docs/benchmarks.md; about two hours
	@for question in provisioning clones noop memory state stages reconcile policies grace growth hosts directory registration azure pages; do \
	    PATH="$$(tools/engine/find):$$PATH" .venv/bin/python -m benchmarks.$$question || exit 1; done

.PHONY: bench-peers
bench-peers: setup ## OpenTofu and virt-install beside ours, which it builds and installs; half an hour
	@tools/packages peers
	@PATH="$$(tools/engine/find):$$PATH" .venv/bin/python -m benchmarks.peers
