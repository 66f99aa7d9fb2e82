# `just` alone lists the recipes.
default:
    @just --list --unsorted

# The whole job in one process, proved at the end
demo *ARGS:
    cargo run --release --locked -- demo {{ ARGS }}

# SQL over the tables of the newest demo
query SQL:
    cargo run --release --locked -- query "{{ SQL }}"

# What CI runs first: format, lints, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --release --locked -- -D warnings
    cargo clippy -p proof --features faults --all-targets --release --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --release --locked

# Every test
test:
    cargo test --workspace --release --locked

# Faults of every kind, in CI's size: minutes
prove *ARGS:
    cargo run --release --locked -p proof --features faults -- all {{ ARGS }}

# The same in a release's size: hours; the results are what docs/proof.md shows
prove-full *ARGS:
    cargo run --release --locked -p proof --features faults -- all --size full --results docs/proof {{ ARGS }}
    cargo run --release --locked -p proof --features faults -- page

# Licences, bans and sources of every dependency (needs cargo-deny)
deny:
    cargo deny --locked check bans licenses sources

# Everything that CI runs
ci:
    bash .ci/run
