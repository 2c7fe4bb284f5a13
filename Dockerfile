# CoreC for amd64 and arm64, one image for the node and for Celery's workers:
#   docker build -t corec .
#   docker buildx build --platform linux/amd64,linux/arm64 -t corec .
FROM python:3.13.15-slim-trixie AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/corec
WORKDIR /src
COPY requirements.txt ./
RUN /opt/corec/bin/pip install --no-cache-dir --requirement requirements.txt
COPY . .
RUN /opt/corec/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13.15-slim-trixie
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
