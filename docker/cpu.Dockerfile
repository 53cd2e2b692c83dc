# DreamJAX on CPUs. Build in the folder of the source: docker build -f docker/cpu.Dockerfile -t dreamjax .
FROM python:3.12-slim

WORKDIR /source
COPY pyproject.toml README.md LICENSE MANIFEST.in requirements.lock ./
COPY dreamjax dreamjax
RUN pip install --no-cache-dir -c requirements.lock . \
    && useradd --create-home --uid 1000 user && mkdir /work && chown user /work

USER 1000
WORKDIR /work
ENTRYPOINT ["dreamjax"]
CMD ["demo"]
