"""The packages of the wheel: all folders below `pipelines` and `sources`. Everything else is in pyproject.toml."""

from setuptools import find_namespace_packages, setup

FOLDERS = find_namespace_packages(include=["pipelines", "pipelines.*", "sources", "sources.*"])

setup(packages=[*FOLDERS, "pipelines.insightly_marts"])  # the last is the folder marts, as pyproject.toml maps it
