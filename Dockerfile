# A bot in a container: docs/deploy/docker.md. Build: docker build -t chatlane .
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/python
# Optional parts: docker build --build-arg EXTRAS="otel socks"
ARG EXTRAS=
COPY requirements-postgres.lock requirements-otel.lock requirements-socks.lock ./
# Wheels only, each with its hash: nothing is compiled here, and nothing else can come in.
RUN for each in postgres ${EXTRAS}; do \
        pip --python /opt/python/bin/python install --no-cache-dir --disable-pip-version-check \
            --only-binary=:all: --require-hashes -r "requirements-${each}.lock" || exit 1; \
    done
WORKDIR /app
COPY run.py ./
COPY engine engine
COPY telegram telegram
COPY handlers handlers
# The container's file system is read-only: what Python compiles has to be there before.
RUN /opt/python/bin/python -m compileall -q .

FROM python:3.13-slim
# Process 1 of a container ignores signals that it does not handle, also SIGKILL from inside: with tini the bot is another
# one, and can be ended by its guard when a handler hangs in native code.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin bot \
    && install -d -o bot -g bot -m 700 /data
COPY --from=build /opt/python /opt/python
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/python/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STORE_URL=sqlite:/data/chatlane.db \
    LOG_FORMAT=json \
    METRICS_LISTEN=127.0.0.1:9464
USER 10001
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os; host, _, port = os.environ['METRICS_LISTEN'].rpartition(':'); c = h.HTTPConnection(host.strip('[]'), int(port), timeout=5); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/tini", "--", "python", "/app/run.py"]
