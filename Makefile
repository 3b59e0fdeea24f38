# gst-plugin-desumnet. `make demo` and `make test` install what is missing first; both work on a machine that has only Rust.
# Settings: CUDA=1 (setup), VIDEO=path (demo), DATA=folder (ablation, evaluate), PREFIX and DESTDIR (install),
# FEATURES=v1_24 (setup, build, test, install, deb).

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib/$(shell gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)

.PHONY: setup build test check demo picture reference ablation evaluate bench install deb clean

setup:
	@tools/setup $(if $(CUDA),--cuda) $(if $(filter v1_24,$(FEATURES)),--analytics)

build: setup
	cargo build --release --features "$(FEATURES)"

# Without what only training, GPUs and networks of the user's own need.
demo:
	@tools/setup --without-torch $(if $(filter v1_24,$(FEATURES)),--analytics)
	cargo build --release -p gst-plugin-desumnet -p desumnet-cli --features "$(FEATURES)"
	tools/demo target/release/desumnet $(if $(VIDEO),"$(VIDEO)")

# The first picture of the README: of the demo's own video, which nobody else's rights are in.
picture: override VIDEO =
picture: demo
	cp out/skim.svg docs/at-work.svg

test: setup check
	@tools/setup --tests
	cargo test --workspace --features "$(FEATURES)"

check: setup
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --features "$(FEATURES)" -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --features "$(FEATURES)"

# The independent computation in PyTorch that the scores are compared with needs all of PyTorch, 5 GB: not part of `test`.
reference: setup
	tools/compare-with-pytorch

# The paper's Table 3 on the videos in DATA (tools/ablation says which): hours.
ablation: setup
	cargo build --release -p desumnet-train
	tools/ablation $(if $(DATA),--data "$(DATA)")

# Tables of docs/EVALUATION.md, of the annotations and videos in DATA (tools/evaluate says which): half an hour.
evaluate: setup
	cargo build --release -p desumnet-cli -p desumnet-train
	tools/evaluate $(if $(DATA),--data "$(DATA)")

# Tables of docs/PERFORMANCE.md and out/bench.json: a quarter of an hour, on a machine that does nothing else.
bench: setup
	cargo bench -p desumnet-cli --bench engine

install: setup
	tools/install "$(DESTDIR)" "$(PREFIX)" "$(LIBDIR)" "$(FEATURES)"

# out/gst-plugin-desumnet_VERSION_ARCHITECTURE.deb, for the release of Debian that it is made on.
deb: setup
	@tools/setup --deb
	FEATURES="$(FEATURES)" dpkg-buildpackage --no-check-builddeps --target=binary
	dh_prep

clean:
	cargo clean
	rm -rf out
