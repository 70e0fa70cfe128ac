# envtune as two images: `gpu` runs the paper's settings, `cpu` the same path with a small model and no GPU.
#
#   docker build --target cpu --tag envtune:cpu .
#   docker build --target gpu --tag envtune:gpu --build-arg COMMIT="$(git rev-parse HEAD)" .
#   docker run --rm --init --shm-size 8g -v envtune:/data envtune:cpu
#   docker run --rm --init --gpus all --shm-size 16g -v envtune:/data envtune:gpu
#
# It is built with BuildKit (the default since Docker 23; before that with DOCKER_BUILDKIT=1). Everything that a run
# writes is under /data: runs, results, cache. reproduce/README.md has more: offline use, mirrors, compose.
#
# Build arguments: GPU_BASE_IMAGE and CPU_BASE_IMAGE (with a mirror of yours, or with its settings and certificates),
# COMMIT (goes into every record), MAX_JOBS and CUDA_ARCHS (the compilation of flash-attn). Tokens are none of them:
# HF_TOKEN is given to `docker run -e HF_TOKEN`, and stays out of the image.

# CUDA 13.0.2, since that is the toolkit which the locked torch names. The digest is the index over all architectures.
ARG GPU_BASE_IMAGE=docker.io/nvidia/cuda:13.0.2-devel-ubuntu24.04@sha256:5dc1bca23d05bd37b011be68ec470c03b403a5da07ec3a86e41af9470e9d0cc6
ARG CPU_BASE_IMAGE=docker.io/library/debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171


# ---- cpu: Debian 12 with Python 3.11

FROM ${CPU_BASE_IMAGE} AS cpu-system

# libnuma1 is linked by vLLM's CPU build. No compiler: nothing of the CPU profile is compiled when it runs.
# The base image deletes what apt downloads; with the cache mounted that would empty the cache.
# hadolint ignore=DL3008 # not by version: mirrors drop a version as soon as its security update is there
RUN --mount=type=cache,id=envtune-cpu-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=envtune-cpu-apt-lists,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates libnuma1 make python3 python3-venv

# Any user may run the image (docker run --user), so what a run writes to is open to all: home and /data.
RUN useradd --uid 1000 --create-home --shell /bin/bash envtune \
    && install --directory --owner envtune --group envtune /workspace/envtune \
    && install --directory --owner envtune --group envtune --mode 777 /home/envtune /home/envtune/.cache \
        /data /data/cache /data/results /data/runs

FROM cpu-system AS cpu
USER 1000:1000
WORKDIR /workspace/envtune

# What the environment is made of, and no more: a change elsewhere in the code repeats nothing of the next step.
COPY --chown=1000:1000 Makefile pyproject.toml README.md LICENSE requirements-cpu.txt requirements-torch-cpu.txt \
    requirements-eval.txt ./
COPY --chown=1000:1000 envtune/__init__.py envtune/bootstrap.py envtune/
# make asks the profile for its name only; the profile itself comes with the code.
RUN --mount=type=cache,id=envtune-packages,target=/home/envtune/.cache,uid=1000,gid=1000 \
    mkdir reproduce && echo "name: cpu" > reproduce/cpu.yaml \
    && HOME=/home/envtune UV_LINK_MODE=copy make setup setup-eval PROFILE=cpu

COPY --chown=1000:1000 . ./

# HOME and USER: a user without an entry in /etc/passwd has neither, and torch asks for the name.
# TORCHDYNAMO_DISABLE: compiling needs a compiler, which this image has not. VLLM_CPU_*: no binding to cores by number,
# and 1 GiB of keys and values; a profile says so itself, a server that is started without one would not come up.
# ENVTUNE_IMAGE goes into a run's record: docker run -e ENVTUNE_IMAGE=NAME@sha256:...; no image knows its own digest.
ARG COMMIT=""
ENV PROFILE=cpu \
    PATH=/workspace/envtune/.venv/bin:$PATH \
    HOME=/home/envtune USER=envtune \
    ENVTUNE_RUNS=/data/runs ENVTUNE_RESULTS=/data/results ENVTUNE_CACHE=/data/cache/envtune \
    XDG_CACHE_HOME=/data/cache HF_HOME=/data/cache/huggingface \
    TORCHDYNAMO_DISABLE=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=1 \
    ENVTUNE_COMMIT=${COMMIT} ENVTUNE_IMAGE=""
LABEL org.opencontainers.image.title="envtune (cpu)" \
      org.opencontainers.image.description="Environment Tuning (arXiv 2510.10197): the whole path on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
# No HEALTHCHECK: this is a job, and its exit code tells. compose.yaml has one for the server.
CMD ["make", "reproduce"]


# ---- gpu: Ubuntu 24.04 with Python 3.12 and CUDA's compiler

FROM ${GPU_BASE_IMAGE} AS gpu-system

# The compiler and Python's headers stay: flash-attn is built here, Triton and FlashInfer compile when a run starts.
# libibverbs is how NCCL reaches another node over InfiniBand.
# hadolint ignore=DL3008 # not by version: mirrors drop a version as soon as its security update is there
RUN --mount=type=cache,id=envtune-gpu-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=envtune-gpu-apt-lists,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates g++ ibverbs-providers libibverbs1 libnuma1 make python3 python3-dev python3-venv

# Ubuntu's images come with a user of the same number.
RUN if id ubuntu > /dev/null 2>&1; then userdel --remove ubuntu; fi \
    && useradd --uid 1000 --create-home --shell /bin/bash envtune \
    && install --directory --owner envtune --group envtune /workspace/envtune \
    && install --directory --owner envtune --group envtune --mode 777 /home/envtune /home/envtune/.cache \
        /data /data/cache /data/results /data/runs

FROM gpu-system AS gpu
USER 1000:1000
WORKDIR /workspace/envtune

COPY --chown=1000:1000 Makefile pyproject.toml README.md LICENSE requirements-gpu.txt requirements-torch-cpu.txt \
    requirements-eval.txt ./
COPY --chown=1000:1000 envtune/__init__.py envtune/bootstrap.py envtune/
# flash-attn is compiled for A100 (80) and H100, H200 (90); each job takes some 10 GB of memory.
# FORCE_BUILD: its own set-up would first look for a wheel on GitHub, which no lock holds a hash of.
ARG MAX_JOBS=4
ARG CUDA_ARCHS="80;90"
RUN --mount=type=cache,id=envtune-packages,target=/home/envtune/.cache,uid=1000,gid=1000 \
    mkdir reproduce && echo "name: gpu" > reproduce/gpu.yaml \
    && HOME=/home/envtune UV_LINK_MODE=copy MAX_JOBS="${MAX_JOBS}" FLASH_ATTN_CUDA_ARCHS="${CUDA_ARCHS}" \
        FLASH_ATTENTION_FORCE_BUILD=TRUE make setup setup-eval PROFILE=gpu

COPY --chown=1000:1000 . ./

# PROFILE is said here: without it, make would take the CPU profile, whose packages are not in this image, wherever
# no GPU is visible. As it is, a run without GPUs ends with a message; `make doctor` says why.
ARG COMMIT=""
ENV PROFILE=gpu \
    PATH=/workspace/envtune/.venv-gpu/bin:$PATH \
    HOME=/home/envtune USER=envtune \
    ENVTUNE_RUNS=/data/runs ENVTUNE_RESULTS=/data/results ENVTUNE_CACHE=/data/cache/envtune \
    XDG_CACHE_HOME=/data/cache HF_HOME=/data/cache/huggingface TRITON_CACHE_DIR=/data/cache/triton \
    ENVTUNE_COMMIT=${COMMIT} ENVTUNE_IMAGE=""
LABEL org.opencontainers.image.title="envtune (gpu)" \
      org.opencontainers.image.description="Environment Tuning (arXiv 2510.10197): the paper's settings on GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
CMD ["make", "reproduce"]
