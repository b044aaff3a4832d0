# The page and the REST service, without PyTorch: `docker build -t mnist-cnn .`; see docs/how-to/deploy.md.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv --without-pip /venv
COPY deploy/requirements.txt ./
RUN pip --python /venv/bin/python install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps .

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["mnist-cnn"]
CMD ["serve", "--host", "0.0.0.0"]
