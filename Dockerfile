# CoreC for amd64 and arm64, one image for the node and for Celery's workers:
#   docker build -t corec .
#   docker buildx build --platform linux/amd64,linux/arm64 -t corec .
# Its digest, as @sha256:...: docker compose takes it from .env, others by --build-arg.
ARG PYTHON_DIGEST=
FROM python:3.13.15-slim-trixie${PYTHON_DIGEST} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/corec
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
# What is installed is what the hashes say, and what builds is so too.
RUN /opt/corec/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt \
 && pip install --no-cache-dir --require-hashes --requirement requirements-build.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . && /opt/corec/bin/pip install --no-deps /wheels/*.whl

FROM python:3.13.15-slim-trixie${PYTHON_DIGEST}
RUN useradd --system --uid 10001 --home-dir /srv/corec --create-home corec && install -d -o corec /srv/corec/data
COPY --from=build /opt/corec /opt/corec
COPY --chmod=755 deploy/entrypoint.sh /usr/local/bin/corec-entrypoint
ENV PATH=/opt/corec/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /srv/corec
VOLUME /srv/corec/data
ENTRYPOINT ["corec-entrypoint"]
CMD ["corec", "run"]
HEALTHCHECK --interval=10s --timeout=10s --start-period=5m CMD ["corec", "status", "--json"]
