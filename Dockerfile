# Three stages: build the bundles (torch), build the runtime environment (no torch), and keep only what serves.
#
#   docker build -t matchka .            # --build-arg TORCH_INDEX_URL=… points pip at PyTorch's CPU wheels
#   docker run -p 8000:8000 -e MATCHKA_API_KEY="$(openssl rand -hex 32)" -v matchka:/data matchka
#
# Without MATCHKA_API_KEY the container refuses to listen.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS export
ARG TORCH_INDEX_URL=
WORKDIR /src
RUN python -m venv /opt/export
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY service service
COPY training training
COPY export export
RUN /opt/export/bin/python -m pip install --no-cache-dir \
        ${TORCH_INDEX_URL:+--extra-index-url ${TORCH_INDEX_URL}} -c .ci/constraints.txt '.[cpu,train]'
RUN /opt/export/bin/matchka-export defaults --models-dir /models && chmod -R a=rX /models

FROM ${PYTHON_IMAGE} AS environment
WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY service service
# Only service/ is here to be installed, so the other two entry points would lead nowhere; pip itself is done after this.
RUN /opt/venv/bin/python -m pip install --no-cache-dir -c .ci/constraints.txt '.[cpu]' \
    && rm /opt/venv/bin/matchka-train /opt/venv/bin/matchka-export \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin matchka \
    && install --directory --owner=matchka --mode=0700 /data
COPY --from=environment /opt/venv /opt/venv
COPY --from=export /models /models
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MATCHKA_HOST=0.0.0.0 \
    MATCHKA_MODELS_DIR=/models \
    MATCHKA_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('MATCHKA_PORT', '8000') + '/readyz', timeout=4)"]
ENTRYPOINT ["matchka"]
CMD ["serve"]
