# DreamJAX on NVIDIA GPUs; the host needs a driver for CUDA 13 and the NVIDIA Container Toolkit.
#   docker build -f docker/cuda.Dockerfile -t dreamjax-cuda .
#   docker run --rm --gpus all -v "$PWD/runs:/work/runs" dreamjax-cuda train --config=tetris_direct:gpu
# The wheels of jax[cuda13] bring CUDA, so the base image is the same as for CPUs. No GPU has run it yet.
FROM python:3.12-slim

WORKDIR /source
COPY pyproject.toml README.md LICENSE MANIFEST.in requirements.lock ./
COPY dreamjax dreamjax
RUN pip install --no-cache-dir -c requirements.lock '.[cuda]' \
    && useradd --create-home --uid 1000 user && mkdir /work && chown user /work

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /work
ENTRYPOINT ["dreamjax"]
CMD ["demo"]
