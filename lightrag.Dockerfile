# The image of lightrag-server: upstream LightRAG, what starts and watches it, and the vocabulary of its tokenizer, which
# a pod without egress cannot fetch.
#   docker build -f lightrag.Dockerfile -t lightragctl-lightrag:latest .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv --without-pip /opt/lightragctl
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lightragctl lightragctl
COPY templates templates
COPY profiles profiles
RUN python -m pip --python /opt/lightragctl/bin/python install --no-cache-dir -c constraints.txt '.[service,lightrag,postgres,profiler]'
RUN python -m pip download --no-cache-dir -c constraints.txt --no-deps --dest /wheels llama-index-core \
    && python -m zipfile --extract /wheels/*.whl /unpacked \
    && mkdir /opt/tiktoken \
    && cp /unpacked/llama_index/core/_static/tiktoken_cache/[0-9a-f]* /opt/tiktoken/

FROM python:3.11-slim-bookworm
ENV PATH=/opt/lightragctl/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIKTOKEN_CACHE_DIR=/opt/tiktoken
RUN groupadd --gid 1000 lightragctl \
    && useradd --uid 1000 --gid 1000 --create-home --shell /usr/sbin/nologin lightragctl
COPY --from=build /opt/lightragctl /opt/lightragctl
COPY --from=build /opt/tiktoken /opt/tiktoken
# by number: Kubernetes cannot tell that a name is not root
USER 1000:1000
WORKDIR /home/lightragctl
ENTRYPOINT ["lightragctl"]
