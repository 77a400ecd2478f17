# `make demo` and `make test` do all the set-up by themselves; as root or as a user with sudo.

TARGET := $(or $(CARGO_TARGET_DIR),target)

SCENARIOS := sanity clients restart partition slow flaky wan pause membership snapshot storm

.PHONY: help setup setup-dev build demo demo-etcd test test-bugs test-bugs-wire test-healthy test-all \
	$(SCENARIOS:%=test-%) test-deaths check bench bench-clients bench-check bench-decode bench-table lint page pictures clean-host

help:
	@echo 'make setup       install what is missing (apt), unpack etcd and NATS into .tools/'
	@echo 'make setup-dev   the same, and a browser, tshark, promtool and npm for tests and lints'
	@echo 'make build       release build of everything'
	@echo 'make demo        start a Raft cluster, cut its leader off, kill another; was it right?'
	@echo 'make demo-etcd   attach to a real etcd cluster, cut its leader off, and heal it'
	@echo '                (DEMO_ARGS="--topology loopback" on one loopback instead)'
	@echo 'make test        every test; what needs root runs as root'
	@echo 'make test-deaths each death of raftq twenty times under load, with the measured gaps'
	@echo 'make test-NAME   one scenario: $(SCENARIOS)'
	@echo '                (RUN_ARGS="--adapter etcd --seed 7" for another system or seed)'
	@echo 'make test-bugs   each deliberate bug of the embedded cluster, and which check catches it'
	@echo 'make test-bugs-wire   those that break Raft itself, caught by what nodes say to each other'
	@echo 'make test-healthy     200 runs (RUNS=n) of healthy clusters without a false alarm (an hour)'
	@echo 'make test-all    every adapter in every scenario; writes docs/matrix.md (half an hour)'
	@echo 'make check       formatting, lints and the tests that need no root'
	@echo 'make bench       compare with a plain queue and with none'
	@echo 'make bench-clients   a thousand clients beside the verdict loop: how late are packets?'
	@echo 'make bench-check how long raftq check takes for a million calls, and how much memory'
	@echo 'make bench-decode  what reading a message on the wire costs, on captures of real clusters'
	@echo 'make bench-table what 10,000 rules cost: to compile, and by packet (needs valgrind)'
	@echo 'make lint        formatting and lints'
	@echo 'make pictures    the pictures in the README, made from a real run'
	@echo 'make page        bundle web/src into web/dist, which is committed (needs npm)'
	@echo 'make clean-host  remove what killed runs left on this host'

setup:
	@tools/setup.sh

setup-dev:
	@tools/setup.sh dev

build:
	@tools/run.sh user cargo build --release --workspace

demo: setup build
	@tools/run.sh root $(TARGET)/release/raftq run tests/scenarios/demo.yaml $(RUN_ARGS)

demo-etcd: setup build
	@tools/run.sh root $(TARGET)/release/raftq-demo --raftq $(TARGET)/release/raftq $(DEMO_ARGS)

test: setup-dev
	@tools/test.sh all

test-deaths: setup
	@tools/run.sh user cargo test --no-run --test live_death
	@tools/run.sh root env RAFTQ_DEATHS=20 $$(tools/run.sh user cargo test --no-run \
		--message-format=json --test live_death 2>/dev/null | \
		sed -n 's/.*"executable":"\([^"]*live_death[^"]*\)".*/\1/p') \
		--test-threads=1 --nocapture

$(SCENARIOS:%=test-%): test-%: setup build
	@tools/run.sh root $(TARGET)/release/raftq run tests/scenarios/$*.yaml $(RUN_ARGS)

test-bugs: setup build
	@tools/run.sh root tools/bugs.sh $(abspath $(TARGET))/release/raftq \
		$(abspath $(TARGET))/bugs clients $(BUGS)

test-bugs-wire: setup build
	@tools/run.sh root tools/bugs.sh $(abspath $(TARGET))/release/raftq \
		$(abspath $(TARGET))/bugs-wire wire $(BUGS)

test-healthy: setup build
	@tools/run.sh root tools/watched.py $(abspath $(TARGET))/release/raftq \
		$(abspath $(TARGET))/healthy $(or $(RUNS),200)

test-all: setup build
	@tools/run.sh root tools/matrix.py $(abspath $(TARGET))/release/raftq \
		$(abspath $(TARGET))/matrix docs/matrix.md $(SCENARIOS)

check: lint
	@tools/test.sh rootless

# Root only measures: files of its own in target/ would be in the user's way.
bench: setup build
	@tools/run.sh user make --silent -C bench OUT=$(abspath $(TARGET))/bench
	@tools/run.sh root env RAFTQ_BENCH_BUILT=1 bench/run

bench-clients: setup build
	@tools/run.sh root env RAFTQ_BENCH_BUILT=1 bench/clients

bench-check: setup build
	@tools/run.sh user $(TARGET)/release/raftq-bench check --raftq $(TARGET)/release/raftq

bench-decode: setup build
	@tools/run.sh user $(TARGET)/release/raftq-bench decode

bench-table: setup build
	@tools/run.sh user $(TARGET)/release/raftq-bench table

lint: setup-dev
	@tools/run.sh user cargo fmt --all --check
	@tools/run.sh user cargo clippy --workspace --all-targets --quiet -- -D warnings
	@if tools/run.sh user sh -c 'command -v cargo-deny' >/dev/null; then \
		tools/run.sh user cargo deny --log-level error check; \
	else echo 'lint: cargo deny is not installed, so deny.toml is not checked here'; fi
	@tools/web.sh check

pictures: setup-dev build
	@tools/run.sh root tools/pictures.sh $(abspath $(TARGET))/release

page: setup-dev
	@tools/web.sh build

# raftq goes first: its record names namespaces that the second command removes.
clean-host: build
	@tools/run.sh root $(TARGET)/release/raftq clean
	@tools/run.sh root $(TARGET)/release/harness-clean
