"""What we ask of a Prefect server and tell it: events, runs under way, what `rnr deploy` puts there.

The server is PREFECT_API_URL (or the active Prefect profile); PREFECT_API_AUTH_STRING where it asks for one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events import Event
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.workers.process import ProcessWorker

from components import tracking

DEPLOYMENT, POOL, FLOW = "retrain/scheduled", "rnr", "retrain"
UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
# a run gives a sign of life every 30 s (prefect.yaml); after three that are missing it counts as dead
SILENCE_S = 100.0
# between a worker's taking a run up and its start: loading the flow takes seconds, minutes beside a training
START_S = 900.0
FINAL = {"prefect.flow-run.Completed", "prefect.flow-run.Failed", "prefect.flow-run.Cancelled"}
FINAL |= {"prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"}
# a server that is away for a moment is waited for, one that is not there is named within seconds
RETRIES = 2


class ServerError(RuntimeError):
    """The Prefect server is missing or refuses; one line with its address, without credentials."""


def address() -> str:
    """The server's API. Raises ServerError when none is set: a temporary one would hear nothing."""
    url = PREFECT_API_URL.value()
    if not url:
        raise ServerError(
            "no Prefect server: PREFECT_API_URL is not set; start one with `prefect server start` and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    return str(url)


@contextlib.contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server; whatever goes wrong with it is a ServerError."""
    # part of Prefect's own client
    import httpx

    url = tracking.scrub(address())
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: RETRIES}), get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise ServerError(
            f"the Prefect server at {url} does not answer ({type(error).__name__}); check PREFECT_API_URL, and that "
            "`prefect server start` runs there"
        ) from error
    except PrefectHTTPStatusError as error:
        code = error.response.status_code
        secret = PREFECT_API_AUTH_STRING.name
        remedy = f"check {secret}" if code in (401, 403) else "see the server's log"
        raise ServerError(f"the Prefect server at {url} refuses (HTTP {code}); {remedy}") from error


def emit(event: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
    """One event, which the server has received when this returns. Raises ServerError."""
    made = Event.model_validate({"event": event, "resource": resource, "payload": payload})
    with connected() as client:
        client.request("POST", "/events", json=[made.model_dump(mode="json")])  # type: ignore[arg-type]


def is_retraining() -> bool:
    """Whether a run of the deployment is under way. Raises ServerError, also when there is no such deployment."""
    with connected() as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ServerError(
                f"the Prefect server at {tracking.scrub(address())} has no deployment {DEPLOYMENT}, nothing would "
                "hear of new photos; `rnr deploy` puts it there"
            ) from None
        return bool(
            client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)),
                ),
                limit=1,
            )
        )


def ensure_pool() -> bool:
    """A pool of processes on workers named POOL; True when it was made now. Raises ServerError."""
    with connected() as client:
        try:
            client.read_work_pool(POOL)
            return False
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
            return True


def dead_run_automations() -> list[AutomationCore]:
    """A run whose process or machine died stays "Running" for ever, and one that a dying worker had taken up stays
    "Pending"; each holds the only slot. They become "Crashed", and the slot is free."""
    related = [{"prefect.resource.role": "flow", "prefect.resource.name": FLOW}]

    def automation(name: str, after: str, expect: set[str], within_s: float, why: str) -> AutomationCore:
        trigger = EventTrigger(
            after={after},
            expect=expect | FINAL,
            match={"prefect.resource.id": "prefect.flow-run.*"},  # type: ignore[arg-type]
            match_related=related,  # type: ignore[arg-type]
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_s),
        )
        crash = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=why, force=False)
        return AutomationCore(name=name, description=why, trigger=trigger, actions=[crash])

    heartbeat = "prefect.flow-run.heartbeat"
    return [
        automation("rnr: retraining died", heartbeat, {heartbeat}, SILENCE_S, f"no sign of life for {SILENCE_S:.0f} s"),
        automation(
            "rnr: retraining never began",
            "prefect.flow-run.Pending",
            {"prefect.flow-run.Running"},
            START_S,
            f"not begun {START_S:.0f} s after a worker had taken it up",
        ),
    ]


def ensure_automations() -> list[str]:
    """Make or renew the automations for dead runs; returns their names. Raises ServerError."""
    wanted = dead_run_automations()
    with connected() as client:
        for automation in wanted:
            known = client.read_automations_by_name(automation.name)
            if known:
                client.update_automation(known[0].id, automation)
            else:
                client.create_automation(automation)
    return [automation.name for automation in wanted]
