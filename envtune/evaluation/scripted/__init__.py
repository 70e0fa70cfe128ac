"""A scripted OpenAI-compatible endpoint on 127.0.0.1, for tests and demonstrations: real HTTP, no model."""

from envtune.evaluation.scripted.endpoint import ScriptedEndpoint
from envtune.evaluation.scripted.policies import POLICIES
from envtune.evaluation.scripted.speech import Way

__all__ = ["POLICIES", "ScriptedEndpoint", "Way"]
