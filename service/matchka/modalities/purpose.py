"""Why a sample is read: what becomes a template has to be more than what is compared once."""

from typing import Literal, TypeAlias

Purpose: TypeAlias = Literal["enrolment", "probe"]
