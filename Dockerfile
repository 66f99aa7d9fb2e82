# The Rust programs, one target each: data-emitter, stream-processor, streamforge.
#
# Built twice: first with the manifests and empty sources, so that the dependencies are a layer of their own, then
# with ours. No frontend is named: the builder's own is enough, and a named one would have to be pulled.
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${RUST_IMAGE} AS build
# librdkafka is built from source; OpenSSL for its TLS and SASL comes from the distribution.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ make pkg-config libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV CARGO_TERM_COLOR=never
ARG BUILD="cargo build --workspace --exclude proof --bins --release --locked --features data-emitter/tls,stream-processor/tls,streamforge/tls"

COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY activity-event/Cargo.toml activity-event/
COPY data-emitter/Cargo.toml data-emitter/
COPY lakehouse/Cargo.toml lakehouse/
# Not built here; the workspace names it, so cargo reads what it is.
COPY proof/Cargo.toml proof/
COPY stream-processor/Cargo.toml stream-processor/
COPY streamforge/Cargo.toml streamforge/
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    for crate in activity-event data-emitter lakehouse stream-processor streamforge; do \
      mkdir "$crate/src" && touch "$crate/src/lib.rs" || exit 1; \
    done \
 && for crate in data-emitter stream-processor streamforge; do \
      echo 'fn main() {}' > "$crate/src/main.rs" || exit 1; \
    done \
 && mkdir lakehouse/tests stream-processor/benches \
 && touch lakehouse/tests/killed.rs stream-processor/benches/parts.rs \
 && ${BUILD} \
 && rm -r */src lakehouse/tests stream-processor/benches

COPY activity-event activity-event
COPY data-emitter data-emitter
COPY lakehouse lakehouse
COPY stream-processor stream-processor
COPY streamforge streamforge
# The copied files are older than the empty ones that were built: cargo goes by time.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
 && ${BUILD} \
 && strip target/release/data-emitter target/release/stream-processor target/release/streamforge

# What the programs need to run, and nothing else: their shared libraries, the roots of trust, a user, and /tmp, from
# which a tmpfs that is mounted there takes its mode.
RUN mkdir -p /runtime/etc/ssl/certs /runtime/opt/streamforge \
 && mkdir --mode=1777 /runtime/tmp \
 && ldd target/release/data-emitter target/release/stream-processor target/release/streamforge \
    | sed -n 's|.*=> \(/[^ ]*\).*|\1|p; s|^[[:space:]]*\(/lib64/[^ ]*\).*|\1|p' | sort -u \
    | xargs cp --parents --dereference --target-directory=/runtime \
 && cp /etc/ssl/certs/ca-certificates.crt /runtime/etc/ssl/certs/ \
 && echo 'streamforge:x:10001:10001::/:/sbin/nologin' > /runtime/etc/passwd \
 && echo 'hosts: files dns' > /runtime/etc/nsswitch.conf

FROM scratch AS runtime
COPY --from=build /runtime /
USER 10001:10001
WORKDIR /opt/streamforge

FROM runtime AS data-emitter
COPY --from=build /src/target/release/data-emitter /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/data-emitter"]

FROM runtime AS stream-processor
COPY --from=build /src/target/release/stream-processor /usr/local/bin/
COPY stream-processor/sql-jobs sql-jobs
ENV JOB_FILE=/opt/streamforge/sql-jobs/transform_pipeline.sql \
    STATUS_ADDRESS=0.0.0.0:8084
EXPOSE 8084
ENTRYPOINT ["/usr/local/bin/stream-processor"]

FROM runtime AS streamforge
COPY --from=build /src/target/release/streamforge /usr/local/bin/
COPY stream-processor/sql-jobs sql-jobs
ENV JOB_FILE=/opt/streamforge/sql-jobs/transform_pipeline.sql
ENTRYPOINT ["/usr/local/bin/streamforge"]
