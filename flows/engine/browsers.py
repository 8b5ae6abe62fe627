"""What a browser may ask of Prefect's API: a list of what the pages need. All else is refused.

Whoever may change a deployment has it run any command; so a browser may not. It reads, starts runs of our deployments
by parameters that their forms allow, stops and goes on with runs, and switches our automation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Extra(StrEnum):
    """What `guidestore serve --allow` adds."""

    AUTOMATIONS = "automations"
    """Making and changing automations of one's own."""
    LIMITS = "limits"
    """Changing concurrency limits."""
    SCHEDULES = "schedules"
    """Schedules of our deployments."""


TAG = "guidestore"
"""Of the deployments and automations that are ours."""


class RefusedError(Exception):
    """What a browser asked for is not on the list; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the list."""

    method: str
    path: re.Pattern[str]
    """Of the whole path below ``/api``."""
    checked: Callable[[Any], Any] | None = None
    """Gives the body that goes on, from the one that came; raises RefusedError. None: the body is not looked at."""
    of_ours: Literal["deployments", "automations", ""] = ""
    """The `id` in the path must be one of ours of this kind."""
    extra: Extra | None = None


_ID = r"[0-9a-fA-F-]{32,36}"


def _rule(method: str, path: str, *more: Any, **named: Any) -> Rule:
    return Rule(method, re.compile(path.replace("ID", _ID)), *more, **named)


# Reading ---------------------------------------------------------------------------------------------------------

_READ = r"(flows|deployments|flow_runs|task_runs|artifacts|automations|variables|work_pools|work_queues)"
_LIMITS = r"(v2/)?concurrency_limits"
_PAGES = _rule("GET", "(?!/api(/|$)).*")
_READING = [
    _rule("GET", r"/(version|ready|admin/(version|settings)|observed-states)"),
    # Not block documents, which may hold passwords. Of the settings Prefect masks them.
    _rule("GET", rf"/{_READ}/(ID|name/[^/]+(/[^/]+)?)"),
    _rule("GET", r"/(flow_runs|deployments)/ID/(graph|graph-v2|logs/download|schedules)"),
    _rule("GET", r"/ui/task_runs/ID"),
    _rule("GET", r"/(flow_run|task_run)_states/(ID)?"),
    _rule("GET", r"/artifacts/[^/]+/latest"),
    _rule("GET", r"/automations/related-to/[^/]+"),
    _rule("GET", rf"/{_LIMITS}/[^/]+"),
    _rule("GET", r"/work_pools/[^/]+(/queues/[^/]+)?"),
    _rule("GET", r"/events/filter/next"),
    _rule("POST", rf"/{_READ}/(filter|count|paginate|history|lateness)"),
    _rule("POST", r"/artifacts/latest/(filter|count)"),
    _rule("POST", rf"/{_LIMITS}/filter"),
    _rule("POST", r"/(logs|saved_searches|task_workers)/filter"),
    _rule("POST", r"/events/(filter|count-by/[a-z-]+)"),
    _rule("POST", r"/work_pools/[^/]+/(queues|workers)/filter"),
    _rule("POST", r"/ui/(flow_runs|flows|task_runs)/(history|count-task-runs|count-deployments|next-runs|count)"),
    _rule("POST", r"/ui/task_runs/dashboard/counts"),
    _rule("POST", r"/ui/schemas/validate"),
]


# Runs ------------------------------------------------------------------------------------------------------------


def _object(body: Any, what: str = "the body") -> dict[str, Any]:
    if not isinstance(body, dict):
        raise RefusedError(f"{what} must be an object")
    return body


def _only(body: dict[str, Any], *allowed: str) -> dict[str, Any]:
    """The allowed keys of a body. Others may be there if they say nothing, as forms send them."""
    for key, value in body.items():
        if key not in allowed and not _says_nothing(value):
            raise RefusedError(f"{key!r} cannot be given from a browser")
    return {key: body[key] for key in allowed if key in body}


def _says_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_says_nothing(one) for one in value.values())
    return value in (None, False, 0, "", [])


def _plain(parameters: Any) -> Any:
    """Parameters without templates: Prefect would fill them in."""
    rest = [parameters]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if value.get("__prefect_kind", "none") not in ("none", "json", None):
                raise RefusedError("parameters from a browser are plain values, not templates or variables")
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return parameters


def _state(state: Any, *types: str) -> dict[str, Any]:
    state = _only(_object(state, "state"), "type", "name", "message", "state_details")
    if state.get("type") not in types:
        raise RefusedError(f"a browser sets a run to {' or '.join(types)} only")
    if state.get("state_details"):
        details = _object(state["state_details"], "state_details")
        state["state_details"] = _only(details, "scheduled_time", "pause_timeout", "pause_reschedule")
    return state


def _new_run(body: Any) -> dict[str, Any]:
    body = dict(_object(body))
    if body.pop("enforce_parameter_schema", None) is False:
        raise RefusedError("parameters from a browser are always checked")
    body = _only(body, "parameters", "state", "name", "tags", "idempotency_key")
    if body.get("state") is not None:
        body["state"] = _state(body["state"], "SCHEDULED")
    if body.get("parameters") is not None:
        body["parameters"] = _plain(_object(body["parameters"], "parameters"))
    return body


def _new_state(body: Any) -> dict[str, Any]:
    body = _only(_object(body), "state", "force")
    # SCHEDULED is what Retry sends: the run as it was asked for, again.
    return {**body, "state": _state(body.get("state"), "CANCELLING", "CANCELLED", "PAUSED", "SCHEDULED")}


def _nothing(body: Any) -> Any:
    if not _says_nothing(body):
        raise RefusedError("nothing can be said here from a browser")
    return body


def _switch(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or list(body) != ["enabled"] or not isinstance(body["enabled"], bool):
        raise RefusedError("a browser can switch the automation on and off, and no more")
    return body


_RUNNING = [
    _rule("POST", r"/deployments/(?P<id>ID)/create_flow_run", _new_run, of_ours="deployments"),
    _rule("POST", r"/flow_runs/ID/set_state", _new_state),
    _rule("POST", r"/flow_runs/ID/resume", _nothing),
    _rule("PATCH", r"/automations/(?P<id>ID)", _switch, of_ours="automations"),
]


# What --allow adds -----------------------------------------------------------------------------------------------


def _automation(body: Any) -> dict[str, Any]:
    body = _object(body)
    for kind in ("actions", "actions_on_trigger", "actions_on_resolve"):
        for action in body.get(kind) or ():
            if not _says_nothing(_object(action, "an action").get("job_variables")):
                raise RefusedError("'job_variables' cannot be given from a browser")
    return body


def _schedules(body: Any) -> Any:
    return [_schedule(one) for one in body] if isinstance(body, list) else _schedule(body)


def _schedule(body: Any) -> dict[str, Any]:
    body = _only(_object(body), "schedule", "active", "max_scheduled_runs", "parameters", "slug", "replaces")
    if body.get("parameters") is not None:
        body["parameters"] = _plain(_object(body["parameters"], "parameters"))
    return body


_EXTRA = [
    _rule("POST", r"/automations/", _automation, extra=Extra.AUTOMATIONS),
    _rule("POST", r"/automations/templates/validate", extra=Extra.AUTOMATIONS),
    _rule("POST", r"/templates/validate", extra=Extra.AUTOMATIONS),
    _rule("PUT", r"/automations/ID", _automation, extra=Extra.AUTOMATIONS),
    _rule("PATCH", r"/automations/ID", _switch, extra=Extra.AUTOMATIONS),
    _rule("DELETE", r"/automations/ID", extra=Extra.AUTOMATIONS),
    _rule("PATCH", r"/v2/concurrency_limits/[^/]+", _object, extra=Extra.LIMITS),
    _rule("POST", r"/deployments/(?P<id>ID)/schedules", _schedules, of_ours="deployments", extra=Extra.SCHEDULES),
    _rule("PATCH", r"/deployments/(?P<id>ID)/schedules/ID", _schedules, of_ours="deployments", extra=Extra.SCHEDULES),
    _rule("DELETE", r"/deployments/ID/schedules/ID", extra=Extra.SCHEDULES),
    _rule("POST", r"/deployments/ID/(pause|resume)_deployment", extra=Extra.SCHEDULES),
]


def rule_for(method: str, path: str, extras: frozenset[Extra]) -> tuple[Rule, str]:
    """The line of the list that allows this, and the id in the path that must be one of ours, '' for none.

    path: whole, as the server has it. Raises RefusedError where there is none.
    """
    method = "GET" if method == "HEAD" else method
    if method == "GET" and not re.match(r"/api(/|$)", path):
        return _PAGES, ""  # pages, and what they are made of
    wanted: Extra | None = None
    for rule in (*_EXTRA, *_READING, *_RUNNING):
        match = rule.path.fullmatch(path.removeprefix("/api"))
        if rule.method != method or not match:
            continue
        if rule.extra is None or rule.extra in extras:
            return rule, match.groupdict().get("id") or ""
        wanted = wanted or rule.extra
    if wanted:
        raise RefusedError(f"not from a browser, unless the server was started with --allow {wanted}")
    raise RefusedError("not from a browser: docs/serving.md says what one may do here")
