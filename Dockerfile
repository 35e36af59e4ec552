# The gateway on an empty base: its binary, the C library it was linked with, one configuration.
#   docker build -t gatehouse .
#   docker run -p 8080:8080 -e UPSTREAM=app:9000 gatehouse
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --profile dist -p gatehouse \
    && packaging/image-root target/dist/gatehouse /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s \
    CMD ["/usr/bin/gatehouse", "health", "-c", "/etc/gatehouse/gatehouse.toml"]
ENTRYPOINT ["/usr/bin/gatehouse"]
CMD ["run", "-c", "/etc/gatehouse/gatehouse.toml"]
