"""BFCL as pinned releases: fetched by hash, unpacked into the cache, never installed.

`bfcl-eval` pins packages that conflict with verl's (numpy 1.26 against numpy 2), so it is not a dependency.
Its wheel is fetched from the package index, checked, unpacked, and its data and API classes are read from there.
"""

from envtune.bfcl.classes import ApiClasses, load_api_classes
from envtune.bfcl.releases import CATEGORIES, RELEASES, Release, get_release

__all__ = ["CATEGORIES", "RELEASES", "ApiClasses", "Release", "get_release", "load_api_classes"]
