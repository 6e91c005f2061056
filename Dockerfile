# Four stages: what both others install, build the bundles (torch), build the runtime environment (no torch), and keep
# only what serves.
#
#   docker build -t matchka .            # --build-arg TORCH_INDEX_URL=… points pip at an index of PyTorch's CPU wheels
#   docker run -p 8000:8000 -e MATCHKA_API_KEY="$(openssl rand -hex 32)" -v matchka:/data matchka
#
# Without MATCHKA_API_KEY the container refuses to listen.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

# Dependencies come before code, with nothing of the project but its metadata (pip installs an empty package), so that
# only a changed pyproject.toml or constraint fetches them again.
FROM ${PYTHON_IMAGE} AS dependencies
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml ./
COPY .ci/constraints.txt .ci/
RUN touch README.md LICENSE && /opt/venv/bin/python -m pip install -c .ci/constraints.txt '.[cpu]'

FROM dependencies AS export
ARG TORCH_INDEX_URL=
RUN /opt/venv/bin/python -m pip install \
        ${TORCH_INDEX_URL:+--extra-index-url ${TORCH_INDEX_URL}} -c .ci/constraints.txt '.[cpu,train]'
COPY service service
COPY training training
COPY export export
RUN /opt/venv/bin/python -m pip install --no-deps --force-reinstall . \
    && /opt/venv/bin/matchka-export defaults --models-dir /models \
    && chmod -R a=rX /models

FROM dependencies AS environment
COPY README.md LICENSE ./
COPY service service
# Only service/ is here to be installed, so the other two entry points would lead nowhere; pip itself is done after this.
RUN /opt/venv/bin/python -m pip install --no-deps --force-reinstall . \
    && rm /opt/venv/bin/matchka-train /opt/venv/bin/matchka-export \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
# The base image's own pip is of no use here. /data is what a new volume starts as.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin matchka \
    && install --directory --owner=matchka --mode=0700 /data
COPY --from=environment /opt/venv /opt/venv
COPY --from=export /models /models
# ONNX Runtime's own builds report to Microsoft unless ORT_DISABLE_TELEMETRY is set.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MATCHKA_HOST=0.0.0.0 \
    MATCHKA_MODELS_DIR=/models \
    MATCHKA_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Without a proxy: Docker sets the client's proxies in every container's environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-I", "-c", \
    "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open( \
        'http://127.0.0.1:' + os.environ.get('MATCHKA_PORT', '8000') + '/readyz', timeout=4)"]
ENTRYPOINT ["matchka"]
CMD ["serve"]
