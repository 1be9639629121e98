# The two images of docker-compose.yaml: `airflow`, and `local-aws`, which alone has Java and Spark.
ARG BASE_IMAGE=python:3.12.12-slim-bookworm

FROM ${BASE_IMAGE} AS builder
# A package index other than PyPI; a build argument stays in this stage, which is not shipped.
ARG PIP_INDEX_URL
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
# Trusted are the certificate authorities of the system, those of a company's network among them.
ENV UV_DEFAULT_INDEX=${PIP_INDEX_URL} UV_NATIVE_TLS=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/uv/bin:$PATH
RUN uv venv --python /usr/local/bin/python /opt/venv
WORKDIR /opt/airflow-eip-provider

FROM builder AS airflow-packages
COPY requirements/compose-airflow.txt requirements/
RUN uv pip install --requirement requirements/compose-airflow.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY airflow_eip_provider/__init__.py airflow_eip_provider/
RUN uv pip install --no-deps --editable .

FROM builder AS local-aws-packages
COPY requirements/compose-local-aws.txt requirements/
RUN uv pip install --requirement requirements/compose-local-aws.txt
COPY local_emr/pyproject.toml local_emr/README.md local_emr/LICENSE local_emr/
COPY local_emr/src/local_emr/__init__.py local_emr/src/local_emr/
RUN uv pip install --no-deps --editable local_emr

# What both have: nobody's rights but a user's, and directories that new volumes take their owner from.
FROM ${BASE_IMAGE} AS runtime
RUN useradd --uid 50000 --gid 0 --create-home --home-dir /opt/airflow airflow \
    && install --directory --owner=airflow --group=0 /opt/airflow/logs /opt/airflow/dags /var/lib/local-aws /run/airflow-secrets
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/airflow-eip-provider

FROM runtime AS local-aws
# Java's packages link into the manual pages, which slim images do not have.
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*
COPY --from=local-aws-packages /opt/venv /opt/venv
COPY . .
USER airflow
ENTRYPOINT ["python", "-m", "local_emr"]

FROM runtime AS airflow
ENV AIRFLOW_HOME=/opt/airflow
COPY --from=airflow-packages /opt/venv /opt/venv
COPY . .
USER airflow
CMD ["airflow", "version"]
