# Everything a contributor types. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := $(or $(CARGO_TARGET_DIR),target)/release
TESTS_BIN := $(or $(CARGO_TARGET_DIR),target)/tests
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug

# The load test starts the descriptors it needs at the hard limit.
RAISE := ulimit -n $$(ulimit -Hn);

CONNECTIONS ?= 10000
DURATION ?= 30s
RATE ?= 5000
REPORT ?= target/loadtest.html
LOADTEST ?=
# What the load tester speaks, and the server and package that speak it too.
PROTOCOL ?= echo
SERVER = $(or $(SERVER_$(PROTOCOL)),$(error PROTOCOL=$(PROTOCOL): want echo, ping, http or websocket))
SERVER_echo := echo
SERVER_ping := ping
SERVER_http := http_echo
SERVER_websocket := websocket_echo
SERVER_PACKAGE = $(if $(filter %_echo,$(SERVER)),servers,$(SERVER))
ROOMS ?= 100
CHAT ?= chat
CHAT_FLAGS ?=
ROUNDS ?=
COMPARE ?=
PING ?=
PUSH ?=
FANOUT ?=
PROXY ?=
MB ?= 1024
RELOADS ?= 1000
REQUESTS ?= 200000
MINUTES ?= 10
RUNS ?= 10000
GO := loadtest/baselines/go_netpoller
CLIENTS := target/clients

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## All binaries, optimised
	cargo build --release --workspace

servers: ## What a load test needs, optimised: a server of PROTOCOL= and the load tester
	cargo build --release -p $(SERVER_PACKAGE) -p loadtest

run: ## echo on 127.0.0.1:7007, settings in configs/echo.toml
	cargo build --release -p echo
	$(RAISE) exec $(BIN)/echo configs/echo.toml

run-ping: ## ping on 127.0.0.1:7379, settings in configs/ping.toml
	cargo build --release -p ping
	$(RAISE) exec $(BIN)/ping configs/ping.toml

run-chat: ## chat on 127.0.0.1:7008, settings in configs/chat.toml
	cargo build --release -p chat
	$(RAISE) exec $(BIN)/chat configs/chat.toml

run-gateway: ## gateway on http://127.0.0.1:7080, a page to try it there, settings in configs/gateway.toml
	cargo build --release -p gateway
	$(RAISE) exec $(BIN)/gateway configs/gateway.toml

check: ## Formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p tests --features failpoints --bin faulty -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

configs: ## Write configs/echo.toml, ping.toml, chat.toml, gateway.toml and docs/settings.md from the table of keys in framework/src/config/keys
	cargo build -p echo -p ping -p chat -p gateway
	$(DEBUG)/echo --print-example > configs/echo.toml
	$(DEBUG)/ping --print-example > configs/ping.toml
	$(DEBUG)/chat --print-example > configs/chat.toml
	$(DEBUG)/gateway --print-example > configs/gateway.toml
	$(DEBUG)/ping --print-reference > docs/settings.md

faulty: ## The server with failpoints, for the tests: alone, for cargo would give all that it builds along with it that feature
	cargo build -p tests --features failpoints --bin faulty

# The tests themselves are built without optimisation, which takes a third of the time and checks arithmetic.
test: faulty ## Every test, the black-box ones against optimised binaries
	cargo build --profile tests --workspace
	$(MAKE) --no-print-directory baseline-go BIN=$(TESTS_BIN)
	$(RAISE) CORELANE_TESTS_BIN=$(abspath $(TESTS_BIN)) tests/run.sh

# Elsewhere than $(BIN), so that an instrumented build has them too.
clients: $(CLIENTS)/python/installed $(CLIENTS)/node/installed ## redis-py, node-redis, ioredis, WebSocket clients, kubernetes-validate and Grafana's schema for the tests (needs python3-venv, npm, node 20)

$(CLIENTS)/python/installed: tests/clients/requirements.txt
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	@touch $@

$(CLIENTS)/node/installed: tests/clients/package.json
	mkdir -p $(@D)
	cp $< $(@D)
	npm install --prefix $(@D) --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

loadtest: servers ## Start a server, load it, show the report (PROTOCOL=echo, ping, http or websocket, CONNECTIONS=, DURATION=, RATE=, REPORT=, LOADTEST=flags)
	$(RAISE) loadtest/loadtest.sh $(BIN) $(SERVER) $(CONNECTIONS) $(DURATION) $(RATE) $(REPORT) --protocol $(PROTOCOL) $(LOADTEST)

c1m: CONNECTIONS = 1000000
c1m: DURATION = 60s
c1m: RATE = 60000
c1m: REPORT = target/c1m.html
c1m: servers ## The same with a million connections; wants 8 GB of memory (PROTOCOL=websocket, LOADTEST=flags)
	$(RAISE) loadtest/c1m.sh $(BIN) $(SERVER) $(CONNECTIONS) $(DURATION) $(RATE) $(REPORT) --protocol $(PROTOCOL) --interval 30s \
	  --rest 20s $(LOADTEST)

c1m-push: CONNECTIONS = 1000000
c1m-push: DURATION = 60s
c1m-push: RATE = 60000
c1m-push: REPORT = target/c1m-push.html
c1m-push: ## One line to a million subscribers, every ten seconds, to the last of them; wants 8 GB of memory (LOADTEST=flags)
	cargo build --release -p push -p loadtest --bin publisher --bin loadtest
	$(RAISE) loadtest/c1m.sh $(BIN) publisher $(CONNECTIONS) $(DURATION) $(RATE) $(REPORT) --mode push --interval 10s $(LOADTEST)

chat-load: DURATION = 60s
chat-load: RATE = 200
chat-load: REPORT = target/chat.html
chat-load: ## RATE= lines a second in ROOMS= rooms of a chat, each to all of its room once and in order (CONNECTIONS=, DURATION=, CHAT=program, LOADTEST=flags)
	cargo build --release -p $(CHAT) -p loadtest
	$(RAISE) loadtest/chat_load.sh $(BIN) $(CHAT) $(CONNECTIONS) $(ROOMS) $(DURATION) $(RATE) $(REPORT) $(LOADTEST)

baseline-go: ## The Go baseline for `make compare`, if `go` is here
	@if command -v go > /dev/null; then cd $(GO) && go build -trimpath -o $(abspath $(BIN))/baseline_go_netpoller .; \
	else echo "no go here: $(GO) is left out"; fi

compare: REPORT = target/compare.html
compare: build baseline-go ## CPU per request and idle memory of echo against the baselines, in turn (ROUNDS=, REPORT=, COMPARE=flags)
	@mkdir -p $(dir $(REPORT))
	$(RAISE) $(BIN)/compare $(if $(ROUNDS),--rounds $(ROUNDS)) --html $(REPORT) $(COMPARE)

compare-redis: build ## CPU of ping against redis-server under redis-benchmark, in turn (ROUNDS=, PING=flags; needs redis)
	$(RAISE) loadtest/compare-redis.sh $(BIN) $(or $(ROUNDS),5) $(PING)

compare-redis-shared: build ## Throughput of ping against redis-server, all on the same cores, nothing pinned by hand (ROUNDS=, PING=flags; needs redis)
	$(RAISE) loadtest/compare-redis-shared.sh $(BIN) $(or $(ROUNDS),7) $(PING)

compare-push: ## How soon what another thread sends is at the peer, on Corelane and on tokio, in turn (ROUNDS=, PUSH=flags such as --assert)
	cargo build --release -p push
	$(RAISE) $(BIN)/compare_push $(if $(ROUNDS),--rounds $(ROUNDS)) $(PUSH)

compare-mail: ## What a message between shards costs beside an eventfd's wake, a bare ring and locks, in turn (ROUNDS=, MAIL=flags such as --assert)
	cargo build --release -p push --bin compare_mail
	$(RAISE) $(BIN)/compare_mail $(if $(ROUNDS),--rounds $(ROUNDS)) $(MAIL)

compare-fanout: ## A line to many subscribers beside a raw loop of io_uring sends, in turn (ROUNDS=, FANOUT=flags such as --assert, --shards 8)
	cargo build --release -p push --bin compare_fanout
	$(RAISE) $(BIN)/compare_fanout $(if $(ROUNDS),--rounds $(ROUNDS)) $(FANOUT)

compare-chat: DURATION = 10s
compare-chat: ## CPU of a delivery and its p99 in a chat beside one on tokio, in turn (ROUNDS=, DURATION=, CHAT_FLAGS=--assert and flags for the load tester)
	cargo build --release -p chat -p baseline_tokio_chat -p loadtest
	$(RAISE) loadtest/compare-chat.sh $(BIN) $(DURATION) $(or $(ROUNDS),5) $(CHAT_FLAGS)

compare-http: ## CPU of a GET by HTTP beside a raw loop of epoll and httparse, and hyper, in turn (ROUNDS=, COMPARE=flags such as --assert)
	cargo build --release -p servers -p compare -p baseline_epoll_http -p baseline_hyper
	$(RAISE) $(BIN)/compare --suite http --rounds $(or $(ROUNDS),12) $(COMPARE)

compare-ws: ## CPU of a message by WebSocket beside plain echo, and fastwebsockets on tokio, in turn (ROUNDS=, COMPARE=flags such as --assert)
	cargo build --release -p servers -p echo -p compare -p baseline_tokio_websocket
	$(RAISE) $(BIN)/compare --suite websocket --rounds $(or $(ROUNDS),12) $(COMPARE)

compare-tls: DURATION = 2s
compare-tls: ## CPU of an echo and of a handshake by TLS beside tokio-rustls, in turn, and p99 while 2 000 handshakes arrive (ROUNDS=, DURATION=, COMPARE=--assert; needs openssl)
	cargo build --release -p echo -p loadtest -p compare -p baseline_tokio_rustls
	$(RAISE) loadtest/compare-tls.sh $(BIN) $(or $(ROUNDS),12) $(DURATION) $(COMPARE)

compare-proxy: build ## CPU of a proxy on copy_bidirectional against tokio's, in turn: bulk and requests (ROUNDS=, PROXY=flags, such as --assert)
	$(RAISE) $(BIN)/compare_proxy $(if $(ROUNDS),--rounds $(ROUNDS)) $(PROXY)

bench: ## How long parsers, codecs, a sweep of deadlines, a token and unmasking take
	cargo bench -p corelane --bench internals --bench codec
	cargo bench -p ping --bench resp

overload: build ## How long the well-behaved wait while thousands of bad peers are there, by turns (ROUNDS=)
	$(RAISE) CORELANE_TESTS_BIN=$(abspath $(BIN)) $(BIN)/overload $(ROUNDS)

duplex: build ## MB=1024 megabytes each way at once, through both halves of a connection in every order and through a proxy, every byte checked
	$(RAISE) CORELANE_TESTS_BIN=$(abspath $(BIN)) CORELANE_TESTS_DUPLEX_MB=$(MB) cargo test -p tests --test duplex -- \
	  --nocapture --test-threads=1

reloads: build ## RELOADS=1000 random settings files for an echo under load: each whole or not at all, nobody lost
	$(RAISE) CORELANE_TESTS_BIN=$(abspath $(BIN)) CORELANE_TESTS_RELOADS=$(RELOADS) cargo test -p tests --test reload random -- --nocapture

restarts: build ## Ten restarts under load with REQUESTS=200000 between one and the next, over connections that come and go: none lost
	$(RAISE) CORELANE_TESTS_BIN=$(abspath $(BIN)) CORELANE_TESTS_RESTART_REQUESTS=$(REQUESTS) cargo test -p tests --test handover \
	  ten_restarts -- --nocapture

soak: build ## echo and ping under random good and bad clients for MINUTES=10; SEED=N repeats a run. Fails on a leak or a wrong byte
	$(RAISE) $(BIN)/soak $$(($(MINUTES) * 60))

# No link-time optimisation: it takes minutes and finds nothing. No leak check: a chunk that outlives its
# shard keeps the shard's pool; leaks are found by tests/cycles.rs and tests/restart.rs.
asan: export RUSTC_BOOTSTRAP = 1
asan: export RUSTFLAGS = -Zsanitizer=address
asan: export CARGO_PROFILE_RELEASE_LTO = off
asan: export CARGO_TARGET_DIR = target/asan
asan: export ASAN_OPTIONS = detect_leaks=0:quarantine_size_mb=1
asan: export CORELANE_TESTS_SLACK = 50
asan: ## The library's tests and the black-box tests under AddressSanitizer
	cargo build --release --workspace --target x86_64-unknown-linux-gnu
	cargo build --release -p tests --features failpoints --bin faulty --target x86_64-unknown-linux-gnu
	$(RAISE) cargo test --release -p corelane -p ping -p chat -p gateway -p top -p tests --lib --bins --tests --target x86_64-unknown-linux-gnu --no-fail-fast

simulate: export CARGO_TARGET_DIR = target/sim
simulate: export CARGO_PROFILE_TESTS_OPT_LEVEL = 3
simulate: export CARGO_PROFILE_TESTS_DEBUG_ASSERTIONS = true
simulate: export CARGO_PROFILE_TESTS_OVERFLOW_CHECKS = true
simulate: ## RUNS=10000 runs of several shards in the simulator, optimised and with every assertion
	CORELANE_MODEL_RUNS=$(RUNS) cargo test --profile tests -p corelane --lib shard::sim::fleet -- --nocapture

# A flag of its own: crates that the framework stands on know `loom`, and not all of them compile with it.
loom: export RUSTFLAGS = --cfg corelane_loom
loom: export CARGO_TARGET_DIR = target/loom
loom: ## How shards wake each other, in every order in which their threads can meet
	cargo test -p corelane --lib loom_

fresh-machine: ## Build and test on fresh Debians with what the README says and nothing else; needs root and debootstrap (FRESH=release)
	FRESH="$(FRESH)" tests/fresh_machine.sh

# libFuzzer comes with a crate and wants a C++ compiler, nothing else: no cargo-fuzz and no nightly. The flags are those of cargo-fuzz.
FUZZ_TARGETS := settings frames codec proxy http websocket tls resp reply chat gateway
FUZZ_SECONDS ?= 30
fuzz-smoke: export RUSTC_BOOTSTRAP = 1
fuzz-smoke: export RUSTFLAGS = --cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Ccodegen-units=1 $(foreach flag,level=4 \
  inline-8bit-counters pc-table trace-compares,-Cllvm-args=-sanitizer-coverage-$(flag))
fuzz-smoke: export ASAN_OPTIONS = detect_leaks=0
fuzz-smoke: ## Each fuzzer for half a minute, from the kept corpus on (FUZZ_SECONDS=, FUZZ_TARGETS=)
	@command -v $(or $(CXX),c++) > /dev/null || { echo "no C++ compiler here: install g++, or set CXX"; exit 1; }
	cd fuzz && cargo build --release --target x86_64-unknown-linux-gnu
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/target/found/$$target && \
	  fuzz/target/x86_64-unknown-linux-gnu/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=4096 -print_final_stats=1 \
	    -artifact_prefix=fuzz/target/found/$$target- fuzz/target/found/$$target fuzz/corpus/$$target || exit 1; \
	done

clean: ## Remove what was built
	cargo clean

.PHONY: help build servers run run-ping run-chat run-gateway check configs faulty test clients loadtest c1m baseline-go compare compare-redis \
  compare-redis-shared compare-push compare-mail compare-http compare-ws compare-tls compare-proxy bench overload duplex soak asan fresh-machine \
  fuzz-smoke c1m-push chat-load \
  compare-fanout compare-chat simulate loom reloads restarts clean
