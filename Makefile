# The commands people type. Each works from a clean clone; what a machine lacks is named by `make setup`.

HOSTS ?= 8
RTT ?= 60ms
PREFIX ?= $(HOME)/.local
NEXTEST = cargo nextest run --workspace --locked --profile ci

.PHONY: help build interpreters aarch64 demo test bench bench-check lint install setup clean

help:
	@echo 'make demo         build, then show $(HOSTS) hosts behind a bastion $(RTT) away  (HOSTS=, RTT=)'
	@echo 'make test         all tests'
	@echo 'make bench        measure, beside ssh in the same run'
	@echo 'make bench-check  measure, and fail when a figure is worse than its bound'
	@echo 'make lint         formatting, clippy, rustdoc, dependencies'
	@echo 'make interpreters waft that also carries Python and JavaScript for scripts; needs pip and npm'
	@echo 'make aarch64      waft that also carries stubs for aarch64 targets; needs a cross gcc'
	@echo 'make install      waft into $(PREFIX)/bin  (PREFIX=)'
	@echo 'make setup        install what this machine lacks for demo and test'
	@echo 'make clean        remove all that was built'

build:
	@scripts/setup.sh demo
	cargo build --locked --release

# Afterwards waft carries the tasks `python` and `javascript`, too. Their tools come by pip and npm.
interpreters:
	scripts/interpreters.sh
	$(MAKE) --no-print-directory build

# Afterwards waft carries stubs for aarch64 targets, too.
aarch64:
	scripts/aarch64.sh
	$(MAKE) --no-print-directory build

demo: build
	target/release/waft demo --hosts $(HOSTS) --rtt $(RTT)

# The end-to-end tests drive the program. It is built in the tests' own profile: wasmtime and Cranelift are compiled once.
test:
	@scripts/setup.sh test
	scripts/aarch64.sh || [ "$$WAFT_AARCH64" != required ]
	scripts/interpreters.sh
	cargo build --locked --workspace
	WAFT_STUB_PROFILE=dev scripts/build-stub.sh liar $(shell uname -m) target/site/liar
	WAFT_STUB_PROFILE=dev scripts/build-stub.sh site $(shell uname -m) target/site/waft-stub
	$(NEXTEST) --features waft-stub/site --lib --test compiler -E 'package(waft-stub) & test(/^(site|audit)::/) + binary(compiler)'
	@[ "$$(id -u)" != 0 ] || scripts/as-user.sh --profile ci
	@WAFT_BIN="$(CURDIR)/target/debug/waft" $(NEXTEST)

bench: build
	cargo run --locked --release -p waft-benches

bench-check: build
	cargo run --locked --release -p waft-benches -- --check

lint:
	scripts/lint.sh

install: build
	install -D -m 755 target/release/waft "$(DESTDIR)$(PREFIX)/bin/waft"

setup:
	scripts/setup.sh test

clean:
	rm -rf target sdk/target tasks/target proto/fuzz/target policy/fuzz/target stub/fuzz/target
