# syntax=docker/dockerfile:1
# The engine, as it is shipped: docker build -t payments .
# `docker-compose.yml` starts it by roles.

FROM rust:1.95-slim-bookworm AS builder
# librdkafka is built with the engine: it wants a C compiler, make and OpenSSL's headers.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential cmake pkg-config libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What was downloaded and compiled stays in the builder's cache, not in a layer: only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package payments \
    && install -D target/dist/payments /out/payments

# One static file, so that a container can be asked how it is without a shell or a package.
FROM busybox:1.37.0-musl AS probe

FROM debian:bookworm-slim
# OpenSSL for Kafka with TLS, certificates for the risk service, the channel and webhooks.
RUN apt-get update && apt-get install -y --no-install-recommends libssl3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/payments --create-home --shell /usr/sbin/nologin payments \
    # A volume that is mounted here belongs to its user.
    && install -d -o payments -g payments /var/lib/payments/sandbox
COPY --from=probe /bin/busybox /probe/wget
COPY --from=builder /out/payments /usr/local/bin/payments
USER payments
WORKDIR /var/lib/payments
EXPOSE 8080
ENTRYPOINT ["payments"]
CMD ["--help"]
