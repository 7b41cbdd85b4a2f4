# A static kivi-server and nothing else.
#   docker build -t kivi .
#   docker run -p 6379:6379 -v kivi:/data kivi --requirepass secret
#   docker run -v ./kivi.conf:/kivi.conf kivi /kivi.conf
# Docker before 23 builds it with DOCKER_BUILDKIT=1. A folder mounted at /data must be writable by user 65534.

FROM rust:1.95-bookworm AS build
WORKDIR /kivi
COPY . .
# Names of functions stay in the program: the report of a crash shows them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/kivi/target \
    host=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target "$host" --bin kivi-server \
 && mkdir -p /out/data \
 && cp "target/$host/release/kivi-server" /out/kivi-server \
 && strip --strip-debug /out/kivi-server

FROM scratch
COPY --from=build /out/kivi-server /kivi-server
COPY --from=build --chown=65534:65534 /out/data /data
# A container is reached from outside: all addresses, and no protected mode, as in the images of others. These stand in the
# environment so that arguments of `docker run` add to them, and win. They are stronger than a mounted file: give
# others as arguments, or with `-e KIVI_PROTECTED_MODE=yes`.
ENV KIVI_BIND="* -::*" KIVI_PROTECTED_MODE="no"
USER 65534:65534
WORKDIR /data
VOLUME /data
EXPOSE 6379
# It sees variables only: another port is set with `-e KIVI_PORT=7000`, or the check is given the file, too.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/kivi-server", "--ping"]
ENTRYPOINT ["/kivi-server"]
