# One image for every service of lightragctl and for the tool itself: `lightragctl serve ...` is what the pods run.
#   docker build -t lightragctl:latest .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv --without-pip /opt/lightragctl
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lightragctl lightragctl
COPY templates templates
COPY profiles profiles
RUN python -m pip --python /opt/lightragctl/bin/python install --no-cache-dir -c constraints.txt '.[service,local,backup,postgres,profiler]'

FROM python:3.11-slim-bookworm
ENV PATH=/opt/lightragctl/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 1000 lightragctl \
    && useradd --uid 1000 --gid 1000 --create-home --shell /usr/sbin/nologin lightragctl
COPY --from=build /opt/lightragctl /opt/lightragctl
# by number: Kubernetes cannot tell that a name is not root
USER 1000:1000
WORKDIR /home/lightragctl
ENTRYPOINT ["lightragctl"]
