# One image for everything: by default `ledger run`, with the embedded database in /var/lib/ledger.
# docker-compose.yml runs the services apart, on a PostgreSQL of its own.
# The base can be any image with Python 3.11 or newer, its venv module and useradd.
ARG BASE=python:3.12-slim

FROM ${BASE} AS environment
COPY requirements.txt /tmp/
RUN python3 -m venv /opt/ledger \
    && /opt/ledger/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.txt

FROM ${BASE}
# An ordinary user with a name, since PostgreSQL wants both.
RUN useradd --uid 10001 --home-dir /var/lib/ledger --create-home --shell /usr/sbin/nologin ledger \
    && chmod 711 /var/lib/ledger
COPY --from=environment /opt/ledger /opt/ledger
WORKDIR /srv/ledger
COPY schemas schemas
COPY ledger_client ledger_client
COPY services services
# What `ledger demo` loads; it looks beside the code.
COPY examples examples
ENV PATH=/opt/ledger/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    LEDGER_HOME=/var/lib/ledger \
    LEDGER_BIND=0.0.0.0
USER ledger
VOLUME /var/lib/ledger
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "services.command"]
CMD ["run"]
