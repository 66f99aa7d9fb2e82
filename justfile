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
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --release --locked

# Every test
test:
    cargo test --workspace --release --locked

# Licences, bans and sources of every dependency (needs cargo-deny)
deny:
    cargo deny --locked check bans licenses sources

# Everything that CI runs
ci:
    bash .ci/run
