"""A second opinion for the reward: which of two restored pictures looks better, asked of a model behind an
OpenAI-compatible endpoint.

One question a photo and step of the network, one a candidate of the policy, which come in steps of some sixteen: the
members of its group that leave the least and the most severity, in changing order. An endpoint that is down, slow or
talks nonsense costs a line and its term of that step; after GIVE_UP such steps in a row it is not asked again. The key
is that of the teacher (components/annotation/endpoint.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import torch

from components.annotation.config import AnnotateParams
from components.refinement.config import RefineParams

GIVE_UP = 3
MAX_TOKENS = 400
KEYS = ("refine.judge_endpoint", "refine.judge_model")
IMAGE_PX = 512
SYSTEM = (
    "You compare two restorations of one degraded photo. Prefer natural detail, true colours and the absence of "
    "artefacts (grids, halos, smearing, ringing); a picture that is smoother is not better for that alone."
)
QUESTION = (
    "The first picture is the degraded photo, the second and the third are restorations A and B of it. "
    'Answer with JSON alone: {"better": "A"}, {"better": "B"} or {"better": "neither"}.'
)
ANSWERS = ("A", "B", "neither")
SCHEMA = {
    "type": "object",
    "properties": {"better": {"type": "string", "enum": list(ANSWERS)}},
    "required": ["better"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "preference", "strict": True, "schema": SCHEMA}}


def verdict_of(text: str) -> str | None:
    """A, B or neither from a reply, whatever stands around its last JSON object; None for nonsense."""
    for found in reversed(re.findall(r"\{[^{}]*\}", text)):
        try:
            said = json.loads(found).get("better")
        except (ValueError, RecursionError):
            continue
        if said in ANSWERS:
            return said
    return None


class Judge:
    """Asks, and gives up when it is no use."""

    def __init__(self, config: RefineParams) -> None:
        """Raises ParamsError where the parameters name no endpoint or model."""
        from components.annotation.endpoint import check

        self.config = AnnotateParams(
            teacher="openai",
            seed=config.seed,
            endpoint=config.judge_endpoint or "none",
            model=config.judge_model,
            concurrency=config.photos_per_step,
            timeout_s=config.judge_timeout_s,
            max_retries=0,
            ask_again=0,
            max_severity_error=0.0,
            image_px=IMAGE_PX,
            max_tokens=MAX_TOKENS,
            temperature=0.0,
        )
        check(self.config, *KEYS)
        self.failures = self.asked = 0

    @property
    def gone(self) -> bool:
        """Whether it is not asked any more."""
        return self.failures >= GIVE_UP

    def preferences(self, degraded: torch.Tensor, restored: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
        """(P, G): 1 for a preferred member, -1 for the one it was held against, else 0.

        degraded (P, 3, H, W), restored (P, G, 3, H, W) in [0, 1]; drop (P, G): the severity that each took away.
        """
        out = torch.zeros_like(drop)
        if self.gone:
            return out
        pairs = []
        for most, least in zip(drop.argmax(1).tolist(), drop.argmin(1).tolist(), strict=True):
            # whoever likes what stands first better shall not be heard
            pairs.append((most, least) if self.asked % 2 == 0 else (least, most))
            self.asked += 1
        questions = [_question(degraded[i], restored[i, a], restored[i, b]) for i, (a, b) in enumerate(pairs)]
        verdicts, troubles = asyncio.run(self._ask(questions))
        for photo, (verdict, (a, b)) in enumerate(zip(verdicts, pairs, strict=True)):
            if verdict in ("A", "B") and a != b:
                out[photo, a], out[photo, b] = (1, -1) if verdict == "A" else (-1, 1)
        self.failures = 0 if any(verdicts) else self.failures + 1
        if troubles:
            what = "the rest goes without it" if self.gone else "this step goes on without those"
            left = f"{len(troubles)} of {len(questions)} preferences are missing ({troubles[0]}); {what}"
            print(f"refine: judge: {left}", flush=True)
        return out

    async def _ask(self, questions: list[list[dict]]) -> tuple[list[str | None], list[str]]:
        """A verdict or None for each question, and why those are missing that are."""
        from components.annotation.endpoint import Endpoint, EndpointError, Key, NoAnswer

        verdicts: list[str | None] = [None] * len(questions)
        troubles: list[str] = []

        async def one(endpoint: Any, number: int) -> None:
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    reply = await endpoint.ask(questions[number])
            except TimeoutError:
                troubles.append(f"no answer within {self.config.timeout_s:g} s")
                return
            except (NoAnswer, EndpointError) as error:
                troubles.append(_ours(error))
                return
            verdicts[number] = verdict_of(reply.text)
            if verdicts[number] is None:
                troubles.append("an answer that names neither A nor B")

        try:
            async with Endpoint(self.config, Key(), RESPONSE_FORMAT) as endpoint:
                await asyncio.gather(*(one(endpoint, number) for number in range(len(questions))))
        except EndpointError as error:  # a key that no header can carry
            troubles = [_ours(error)] * len(questions)
        return verdicts, troubles


def _ours(error: Exception) -> str:
    """The endpoint's words with our parameters for the teacher's."""
    return str(error).replace("annotate.endpoint", KEYS[0]).replace("annotate.model", KEYS[1])


def _question(degraded: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> list[dict]:
    from components.annotation.remote import picture_url

    content: list[dict] = [{"type": "text", "text": QUESTION}]
    for picture in (degraded, first, second):
        pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        content.append({"type": "image_url", "image_url": {"url": picture_url(pixels.copy(), IMAGE_PX)}})
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
