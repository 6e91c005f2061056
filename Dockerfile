# Four stages: what both others begin with, build the bundles (torch), build the runtime environment (no torch), and keep
# only what serves.
#
#   docker build -t matchka .                        # --build-arg TORCH_INDEX_URL=… points pip at PyTorch's CPU wheels
#   docker build -t matchka-gpu --build-arg EXTRA=gpu .
#   docker build -t matchka-formats --build-arg FORMATS=1 .   # can be set to read WebM, M4A and HEIC: docs/formats.md
#                                                    # and so MILVUS=1 (docs/milvus.md), OTEL=1 (docs/observability.md)
#
# A private package index and its authority: --secret id=pip.conf,src=… and --secret id=ca.pem,src=… (docs/deployment.md).
# How to run it, with few rights: README.md, "Docker". Without MATCHKA_API_KEY the container refuses to listen.
#
# A release is built with --build-arg RELEASE=1 and refuses whatever is not pinned by a digest: the base image
# (--build-arg PYTHON_IMAGE=…@sha256:…) and the CUDA packages that the package index's own torch brings (TORCH_INDEX_URL).
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
# cpu or gpu: with which runtimes of ONNX and FAISS
ARG EXTRA=cpu

# Dependencies come before code, so that only a changed pin fetches them again. Every file that pip takes has its sha256
# in .ci/requirements-*.txt (`make lock`); --only-binary because building from source fetches build tools without one.
FROM ${PYTHON_IMAGE} AS base
ARG PYTHON_IMAGE
ARG RELEASE=
RUN if [ -n "$RELEASE" ] && [ "${PYTHON_IMAGE##*@sha256:}" = "$PYTHON_IMAGE" ]; then \
        echo "A release build needs its base image by digest: --build-arg PYTHON_IMAGE=$PYTHON_IMAGE@sha256:..." >&2; \
        exit 1; fi
# where secrets are mounted; pip goes on without a file that is not there
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /src
RUN python -m venv /opt/venv

FROM base AS export
# an address, or a folder that the build can see
ARG TORCH_INDEX_URL=
ARG RELEASE=
COPY .ci/requirements-export.txt .ci/requirements-torch*.txt .ci/
# Without dependencies, for those of torch differ by index: the package index's own brings CUDA packages, which are of the
# versions that this torch names but have no sha256 here. `pip check` tells whether any are missing.
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    case "$TORCH_INDEX_URL" in *://*) where=--extra-index-url ;; *) where=--find-links ;; esac \
    && /opt/venv/bin/python -m pip install --no-deps --require-hashes --only-binary :all: \
        ${TORCH_INDEX_URL:+"$where" "$TORCH_INDEX_URL"} \
        -r .ci/requirements-export.txt -r ".ci/requirements-torch${TORCH_INDEX_URL:+-cpu}.txt" \
    && if ! /opt/venv/bin/python -m pip check; then \
        if [ -n "$RELEASE" ]; then echo "A release build needs PyTorch's CPU wheels: TORCH_INDEX_URL" >&2; exit 1; fi; \
        /opt/venv/bin/python -m pip install --only-binary :all: torch; fi
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY training training
COPY export export
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/venv/bin/python -m pip install --no-index --no-deps --no-build-isolation . \
    && /opt/venv/bin/matchka-export defaults --models-dir /models \
    && chmod -R a=rX /models

FROM base AS environment
ARG EXTRA
# decoders of further formats; they bring GPL libraries, and none is used before a setting names it
ARG FORMATS=
# the client of a Milvus server; traces
ARG MILVUS=
ARG OTEL=
COPY .ci/requirements-serve-*.txt .ci/requirements-formats.txt .ci/requirements-milvus.txt .ci/requirements-otel.txt .ci/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/venv/bin/python -m pip install --require-hashes --only-binary :all: -r ".ci/requirements-serve-$EXTRA.txt" \
        ${FORMATS:+-r .ci/requirements-formats.txt} ${MILVUS:+-r .ci/requirements-milvus.txt} \
        ${OTEL:+-r .ci/requirements-otel.txt}
COPY pyproject.toml README.md LICENSE ./
COPY service service
# Only service/ is here to be installed, so the other two entry points would lead nowhere; pip itself is done after this.
RUN /opt/venv/bin/python -m pip install --no-index --no-deps --no-build-isolation . \
    && /opt/venv/bin/python -m pip check \
    && rm /opt/venv/bin/matchka-train /opt/venv/bin/matchka-export \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
ARG EXTRA
# The base image's own pip, where it has one, is of no use here. /data and /keys are what new volumes start as: templates
# are encrypted, and their keys lie in a volume of their own, so that a copy of /data opens nothing, and no deletion leaves
# a copy that does.
RUN if python -c 'import pip' 2>/dev/null; then \
        python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel; fi \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin matchka \
    && install --directory --owner=matchka --mode=0700 /data /keys
COPY --from=environment /opt/venv /opt/venv
COPY --from=export /models /models
# ONNX Runtime's own builds report to Microsoft unless ORT_DISABLE_TELEMETRY is set.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MATCHKA_DEVICE=${EXTRA} \
    MATCHKA_HOST=0.0.0.0 \
    MATCHKA_HEALTH_PORT=8001 \
    MATCHKA_MODELS_DIR=/models \
    MATCHKA_DATA_DIR=/data \
    MATCHKA_MASTER_KEY_FILE=/keys/master.key \
    MATCHKA_CREATE_MASTER_KEY=1 \
    MATCHKA_KEY_DATABASE_URL=sqlite:////keys/keys.sqlite
USER 10001
WORKDIR /data
VOLUME ["/data", "/keys"]
EXPOSE 8000 8001
# Without a proxy: Docker sets the client's proxies in every container's environment. Nobody else is on this address.
# A health port that was set to nothing leaves the other one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-I", "-c", \
    "import os, ssl, urllib.request as u; get = os.environ.get; scheme = 'https' if get('MATCHKA_TLS_CERTIFICATE') else 'http'; \
    u.build_opener(u.ProxyHandler({}), u.HTTPSHandler(context=ssl._create_unverified_context())).open( \
        scheme + '://127.0.0.1:' + (get('MATCHKA_HEALTH_PORT') or get('MATCHKA_PORT') or '8000') + '/readyz', timeout=4)"]
ENTRYPOINT ["matchka"]
CMD ["serve"]
