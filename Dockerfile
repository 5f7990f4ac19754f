# The service alone, as a user without rights, on a root file system that may be read-only.
FROM python:3.13-slim AS build
COPY LICENSE requirements-serve.lock /srv/
RUN pip install --quiet --no-cache-dir --require-hashes --target=/srv -r /srv/requirements-serve.lock
COPY fmnist_utils /srv/fmnist_utils
# Nothing can be compiled later: the file system may be read-only.
RUN python -m compileall -q /srv/fmnist_utils

FROM python:3.13-slim
COPY --from=build /srv /srv
# What is downloaded or larger than memory should hold goes to /tmp, the only folder written to.
ENV PYTHONPATH=/srv HOME=/tmp
# By number, for Kubernetes to know that it is not root.
USER 65532:65532
EXPOSE 8000
# Not urllib, which would ask a proxy that the engine names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from http.client import HTTPConnection; c = HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-c", "from fmnist_utils.cli.main import main; main()"]
CMD ["serve", "--host", "0.0.0.0"]
