"""`guidestore serve` as a user has it: a real server on a free port, runs asked for through its API, and Ctrl-C.

One server for the file, because it takes long to start; the tests go by its life, each leaves what the next needs. The
store is in a bucket; tests/packaging/test_installed.py serves one on a disk.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, TimeoutError

from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.engine.forgetting import forget_case, own_database
from tests.browsing import chromium, faults_of
from tests.commandline import guidestore
from tests.flows.serving.attacks import FORM, STEP, TRIES, facts_of, page_of
from tests.flows.serving.new_cases import add_cases, upload
from tests.flows.serving.server import RETRAIN, Served, serving, with_database
from tests.flows.serving.waiting import WAIT_SECONDS, until
from tests.s3_server import BUCKET, environment

SEEDS = 2000
"""Of a run that is meant to be ended: it would go on for minutes."""


AUTOMATION = "guidestore: retrain on new codes (store)"
QUIET = ("--quiet-seconds", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Of what Prefect and the server keep."""
    folder = tmp_path_factory.mktemp("serve")
    assert pytestconfig.cache
    with_database(folder, pytestconfig.cache.mkdir("prefect"))
    return folder


@pytest.fixture(scope="module")
def store(report_store: Path, s3_server: str, folder: Path) -> Iterator[str]:
    """Its URL; the environment has what it takes to open it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(s3_server, folder / "cache").items():
            patch.setenv(name, value)
        url = f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}/store"
        upload(report_store, url)
        yield url


@pytest.fixture(scope="module")
def served(store: str, folder: Path) -> Iterator[Served]:
    with serving(store, folder, *QUIET) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, served: Served) -> Page:
    """A window of somebody who opened the address that was printed; the pages' scripts are loaded once."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(1000 * WAIT_SECONDS)
    page.goto(served.page)
    return page


def open_deployment(page: Page, name: str) -> None:
    """By clicks. The list writes its sorting into its address once it is drawn, and a click before that is lost."""
    page.get_by_role("link", name="Deployments").first.click()
    # Not any link of that name: the page before lists runs, and may still be there.
    link = page.locator('a[href*="/deployments/deployment/"]').filter(has_text=name).first
    link.wait_for()
    place = link.get_attribute("href") or ""
    for patience_s in (5, 10, WAIT_SECONDS):
        link.click()
        try:
            page.wait_for_url(f"**{place}**", timeout=1000 * patience_s)
            return
        except TimeoutError:
            continue
    raise AssertionError(f"{page.url}, not {place}")


def test_one_line_says_where_to_click(served: Served) -> None:
    page = str(served.api.base_url).removesuffix("api/")
    assert served.line.count("\n") == 1
    assert served.line.startswith(f"{served.store} is served: open http://127.0.0.1:")
    assert "codes and cases are at /explore" in served.line
    assert re.fullmatch(re.escape(page) + r"\?token=[0-9a-f]{64}", served.page)
    with httpx.Client(headers={"Accept": "text/html"}, follow_redirects=True, timeout=30) as browser:
        assert "prefect" in browser.get(served.page).raise_for_status().text.lower()


def test_the_api_refuses_what_no_form_offers(served: Served) -> None:
    for wrong in ({"cohort": "nope"}, {"guidance": "magic"}, {"store": "/tmp"}, {"device": "cuda; rm -rf /"}):
        answer = served.ask("retrain", {**RETRAIN, **wrong})
        assert answer.status_code == 409, wrong
        assert f"settings{'' if 'store' in wrong else '.' + next(iter(wrong))}" in answer.json()["detail"]
    lists = {name: [RETRAIN[name]] for name in ("inferior", "superior")}
    named = served.ask("retrain", {**RETRAIN, "snapshot": "v9"})
    assert (named.status_code, "settings.snapshot" in named.json()["detail"]) == (409, True)
    # A sweep's models are those of its lists: a module is not imported by its name.
    for kind in ("guidance", "decoder", "fusion", "students"):
        answer = served.ask("sweep", {"cohort": "skin", **lists, kind: [{"name": "os:getcwd"}]})
        assert answer.status_code == 409
        assert kind in answer.json()["detail"]


def test_writes_at_once_wait_for_each_other(served: Served) -> None:
    """As the server is without our change, nearly all of them are refused or cut off."""
    served.api.post("/v2/concurrency_limits/", json={"name": "many", "limit": 1000}).raise_for_status()
    taken = {"names": ["many"], "slots": 1, "lease_duration": 60}
    flow = served.api.post("/flows/", json={"name": "many"}).json()["id"]

    def write(_: int) -> tuple[int, int]:
        run = served.api.post("/flow_runs/", json={"flow_id": flow, "state": {"type": "COMPLETED"}})
        return run.status_code, served.api.post("/v2/concurrency_limits/increment-with-lease", json=taken).status_code

    with ThreadPoolExecutor(8) as at_once:
        assert set(at_once.map(write, range(48))) == {(201, 200)}


def test_without_a_secret_the_server_says_nothing(served: Served) -> None:
    root = str(served.api.base_url).removesuffix("/api/")
    with httpx.Client(base_url=root) as nobody:
        for path in ("/", "/docs", "/redoc", "/openapi.json", "/api/docs", "/api/openapi.json", "/ui-settings"):
            assert nobody.get(path).status_code == 401, path
        assert nobody.post("/api/deployments/filter", json={}).status_code == 401
        assert nobody.get("/?token=" + "0" * 64).status_code == 401
        assert nobody.get("/api/health").json() is True
        rebound = {"Host": f"evil.example:{served.api.base_url.port}"}
        rebound["Origin"] = f"http://{rebound['Host']}"
        assert nobody.post("/api/deployments/filter", json={}, headers=rebound).status_code == 403
    secret = served.home / "guidestore-auth"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in served.line


def test_no_page_takes_the_server_over(served: Served, browser: Browser) -> None:
    """Pages of another site, of another port of this machine, and its own, in a browser that has the cookie."""
    port = served.api.base_url.port
    root = f"http://127.0.0.1:{port}"
    before = served.api.get("/deployments/name/retrain/retrain").json()
    runs = served.api.post("/flow_runs/count", json={}).json()
    form = FORM.format(action=f"{root}/api/deployments/{before['id']}/create_flow_run")
    with (
        page_of("<title>evil</title>") as evil,
        page_of(form) as form_port,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(served.page)
        assert "token" not in page.url
        (cookie,) = (one for one in context.cookies() if one.get("name", "").startswith("guidestore"))
        assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
        front = page.evaluate(TRIES, [root, before["id"], STEP])  # our own page has no use for a request
        assert not {name for name, status in front.items() if status == 200}
        page.route("**/*.js", lambda route: route.abort())  # it is the place that counts, not what Prefect draws there
        page.goto(f"{root}/deployments")
        own = page.evaluate(TRIES, [root, before["id"], STEP])
        assert {name for name, status in own.items() if status == 200} == {"read", "get", "logs"}
        assert own["settings"] == 409
        assert {
            own[name] for name in ("patch", "variables", "unchecked", "deployment", "blocks", "delete", "text")
        } == {403}
        assert {status for name, status in own.items() if "/" in name} == {"failed"}

        for foreign in (f"http://evil.example:{evil}", f"http://127.0.0.1:{evil}", f"http://localhost:{evil}"):
            page.goto(foreign)
            tried = page.evaluate(TRIES, [root, before["id"], STEP])
            assert set(tried.values()) <= {"failed", 0}, foreign
            page.goto(foreign.replace(str(evil), str(form_port)))
            page.wait_for_url(f"{root}/**")
            assert "own pages only" in page.inner_text("body")
        answer = page.goto(f"http://evil.example:{port}/")
        assert answer
        assert answer.status == 403
        assert set(page.evaluate(TRIES, ["", before["id"], STEP]).values()) <= {403, "failed"}
    after = served.api.get("/deployments/name/retrain/retrain").json()
    assert facts_of(after) == facts_of(before)
    assert served.api.post("/flow_runs/count", json={}).json() == runs


def test_markup_in_what_runs_show_is_text(served: Served, browser: Browser) -> None:
    """Names of targets and classes come from tables of others; Prefect's pages of both looks show them."""
    evil = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    link = "[click](javascript:document.title='taken')"
    made = [
        served.api.post("/artifacts/", json={"key": f"evil-{kind}", "type": kind, "description": evil, "data": data})
        for kind, data in (("table", json.dumps([{evil: evil}])), ("markdown", f"seen {evil} {link}"))
    ]
    root = str(served.api.base_url).removesuffix("/api/")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(served.page)
        for look in ("v1", "v2"):
            page.context.add_cookies([{"name": "prefect_ui_version", "value": look, "url": root}])
            for answer in made:
                at = f"{root}/{'v2/' if look == 'v2' else ''}artifacts/artifact/{answer.json()['id']}"
                page.goto(at)
                page.get_by_text("onerror" if answer is made[0] else "seen").first.wait_for(timeout=20_000)
                for one in page.get_by_role("link", name="click").all():
                    one.click(timeout=5_000)
                page.wait_for_timeout(200)
                assert page.title() != "taken"


@pytest.fixture(scope="module")
def ended(served: Served) -> dict[str, str]:
    """Runs of one process: every flow runs as it does under the runner, of which new codes and the browser ask some."""
    lists = {name: [RETRAIN[name]] for name in ("inferior", "superior")}
    grid = {"cohort": "skin", "targets": ["DIAG"], **lists, "guidance": [{"name": "ridge"}], "permutations": 2}
    schema = served.api.get("/deployments/name/compare/compare").json()["parameter_openapi_schema"]
    listed = schema["definitions"]["CompareForm"]["properties"]["a"]["enum"]
    a, b = (next(name for name in listed if name.startswith(f"DIAG by {row} (")) for row in ("I", "G(I)"))
    return served.run_here(
        {
            "retrain": ("retrain", {**RETRAIN, "guidance": "pls", "alias": "asked"}),
            "no such fold": ("retrain", {**RETRAIN, "folds": [7]}),
            "no name": ("sweep", {**grid, "name": "../x"}),
            "sweep": ("sweep", {**grid, "decoder": [{"name": "logistic"}]}),
            "compare": ("compare", {"a": a, "b": b, "part": "test"}),
            "verify": ("verify", None),
        }
    )


def test_retrain_trains_from_codes_and_names_a_champion(served: Served, ended: dict[str, str]) -> None:
    run = ended["retrain"]
    assert served.state(run)["type"] == "COMPLETED", served.log(run)
    until(lambda: "Finished in state" in served.log(run))
    assert re.search(r"images read: 0; heads trained: [1-9]\d*, there already: [1-9]", served.log(run))
    artifacts = served.artifacts(run)
    assert "G(I)+I, shuffled pairs" in str(artifacts["retrain-result"]["data"])
    assert "there was none before" in artifacts["retrain-champion"]["description"]
    root = str(served.api.base_url).removesuffix("/api/")
    figure = f"{root}{artifacts['retrain-figure']['data']}"
    assert re.fullmatch(re.escape(root) + r"/explore/figures/[0-9a-f]{32}\.png", figure)
    with httpx.Client(follow_redirects=True, timeout=30, headers={"Accept": "text/html"}) as browser:
        assert browser.get(figure).status_code == 401
        browser.get(served.page)
        assert Image.open(io.BytesIO(browser.get(figure).raise_for_status().content)).size > (400, 100)
        assert browser.get(f"{root}/explore/figures/%2e%2e/guidestore-auth").status_code == 404
    assert artifacts["progress"]["data"] == 100
    assert "guidestore predict --run asked" in artifacts["retrain-summary"]["data"]
    champion = EmbeddingStore.open(served.store).find_run("asked").artifact
    asked = f"SELECT row, guidance FROM runs WHERE run = '{champion}'"
    assert "G(I)+I,pls" in guidestore("sql", asked, "--format", "csv", "--store", served.store).stdout


def test_the_front_door_says_what_can_be_done_and_what_failed(
    served: Served, browser: Browser, ended: dict[str, str], tmp_path: Path
) -> None:
    """PICTURES=docs makes the picture of docs/browser.md anew."""
    root = str(served.api.base_url).removesuffix("/api/")
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT_SECONDS)
        answer = page.goto(served.page)
        assert answer is not None
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert page.title().startswith("guidestore: ")
        cards = page.locator(".cards a").all_inner_texts()
        assert cards[:2] == ["Codes and cases", "Cohort skin"]
        assert set(cards[2:]) == {"encode", "retrain", "sweep", "experiment", "compare", "verify"}
        assert re.fullmatch("[1-9] runs failed in the last 7 days", page.locator("main li").first.inner_text())
        failed = page.get_by_role("row").filter(has_text="has no fold 7 of split 'official'")
        assert failed.get_by_role("rowheader").inner_text() == "retrain"
        assert f"runs/flow-run/{ended['no such fold']}" in (failed.get_by_role("link").get_attribute("href") or "")
        assert "lesion-" not in page.content()
        assert faults_of(page) == []
        pictures = Path(os.environ.get("PICTURES", tmp_path))
        page.screenshot(path=pictures / "serve-front.png", full_page=True)
        for look in ("v1", "v2"):  # links lead to the UI that one chose
            context.add_cookies([{"name": "prefect_ui_version", "value": look, "url": root}])
            page.goto(root)
            form = page.get_by_role("link", name="retrain", exact=True).get_attribute("href") or ""
            assert form.startswith("/v2/") == (look == "v2")
            assert context.request.get(root + form, headers={"Accept": "text/html"}).ok
        page.get_by_role("link", name="Cohort skin").click()
        page.wait_for_selector("body[data-shown]")
        page.get_by_role("link", name="Flows").click()
        assert page.url == f"{root}/"
    port, token = served.api.base_url.port, served.page.rpartition("=")[2]
    with httpx.Client(base_url=root) as nobody:
        for method in ("GET", "HEAD"):
            assert nobody.request(method, "/").status_code == 401
            rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
            assert nobody.request(method, "/", headers=rebound).status_code in (401, 403)
            foreign = {"Origin": "http://127.0.0.1:1", "Cookie": f"guidestore_{port}={token}"}
            assert nobody.request(method, "/", headers=foreign).status_code == 403


def test_a_name_that_the_store_lacks_fails_with_one_sentence(served: Served, ended: dict[str, str]) -> None:
    state = served.state(ended["no such fold"])
    sentence = "cohort skin has no fold 7 of split 'official'; it has official/0"
    assert (state["type"], state["message"]) == ("FAILED", sentence)
    until(lambda: sentence in served.log(ended["no such fold"]))
    assert "Traceback" not in served.log(ended["no such fold"])


def test_a_sweep_is_called_by_a_name(served: Served, ended: dict[str, str]) -> None:
    state = served.state(ended["no name"])
    assert state["type"] == "FAILED"
    assert state["message"].startswith("'../x' cannot be a sweep: use 1 to 120 letters")


def test_the_other_flows_show_their_tables(served: Served, ended: dict[str, str]) -> None:
    for name in ("sweep", "compare", "verify"):
        assert served.state(ended[name])["type"] == "COMPLETED", served.log(ended[name])
    shown = {name: served.artifacts(run) for name, run in ended.items()}
    assert {row["row"] for row in _rows(shown["sweep"]["sweep-ranking"])} == {"G(I)", "G(I)+I"}
    assert _rows(shown["compare"]["compare-runs"])[0]["metric"] == "balanced_accuracy"
    changed = shown["compare"]["compare-changed-cases"]["data"]
    assert re.search(r"\d predictions changed[^|]*guidestore compare( [0-9a-f]{12}){2} --part test --pooled", changed)
    assert shown["verify"]["verify-findings"]["description"].endswith("clean.")


def events(served: Served, name: str) -> list[dict[str, Any]]:
    asked = {"filter": {"event": {"name": [name]}, "order": "ASC"}}
    return served.api.post("/events/filter", json=asked).raise_for_status().json()["events"]


def automation(served: Served) -> dict[str, Any]:
    found = served.api.post("/automations/filter", json={"automations": {"name": {"any_": [AUTOMATION]}}}).json()
    return found[0] if found else {}


def retrains(served: Served) -> list[dict[str, Any]]:
    """Of the automation."""
    asked = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "START_TIME_ASC"}
    runs = served.api.post("/flow_runs/filter", json=asked).json()
    return [run for run in runs if run["parameters"]["settings"].get("snapshot")]


@pytest.mark.prefect_pages
def test_new_codes_are_announced_and_retrained_on(served: Served) -> None:
    form = served.api.get("/deployments/name/retrain/retrain").json()["parameter_openapi_schema"]
    assert form["definitions"]["RetrainForm"]["properties"]["target"]["enum"] == ["", "DIAG", "PIG"]
    until(lambda: automation(served))
    assert automation(served)["enabled"]
    assert "the heads of the form's defaults" in automation(served)["description"]
    assert not events(served, "guidestore.codes.committed"), "what is old is not announced"

    numbers = [add_cases(served.store, first) for first in (0, 10, 20)]
    until(lambda: len(events(served, "guidestore.codes.committed")) == 3)
    told = [event["payload"] for event in events(served, "guidestore.codes.committed")]
    assert [event["snapshot"] for event in told] == numbers
    assert [(event["codes"], event["cases"], event["cohorts"]) for event in told] == [(8, 4, ["skin"])] * 3
    assert {name.partition("@")[0] for name in told[0]["code_sets"]} == {"skin/clinical/made", "skin/dermoscopy/made"}
    assert "new-0" not in str(told)
    assert str(served.home.parent) not in str(told)
    assert served.store.rpartition("/")[0] not in str(told)

    until(lambda: retrains(served))
    run = retrains(served)[0]
    assert served.end_of(run["id"])["type"] == "COMPLETED", served.log(run["id"])
    assert run["parameters"]["settings"]["snapshot"] == str(numbers[-1])
    until(lambda: "Finished in state" in served.log(run["id"]))
    assert re.search(r"images read: 0; heads trained: [1-9]\d*, there already: 0", served.log(run["id"]))
    assert {"retrain-result", "retrain-champion", "retrain-figure", "retrain-summary"} <= set(
        served.artifacts(run["id"])
    )
    store = EmbeddingStore.open(served.store)
    champion = store.find_run("champion").artifact
    (fact,) = [one for one in store.snapshot().rows("runs").to_pylist() if one["run"] == champion]
    assert fact["snapshot"] == numbers[-1]
    until(lambda: "the champion's head" in automation(served)["description"])
    assert len(retrains(served)) == 1, "three commits shortly after one another, one retraining"


@pytest.mark.prefect_pages
def test_the_automation_is_switched_off_in_the_browser(served: Served, page: Page, tmp_path: Path) -> None:
    """PICTURES=docs makes the picture of docs/serving.md anew."""
    page.get_by_role("link", name="Automations").first.click()
    page.get_by_text(AUTOMATION).first.wait_for()
    switch = page.get_by_role("switch")
    switch.wait_for()
    page.screenshot(path=Path(os.environ.get("PICTURES", tmp_path)) / "serve-automation.png")
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    until(lambda: not automation(served)["enabled"])
    before, number = len(retrains(served)), add_cases(served.store, 30)
    until(lambda: number in [event["payload"]["snapshot"] for event in events(served, "guidestore.snapshot.ready")])
    time.sleep(1)  # it would be there by now
    assert len(retrains(served)) == before


@pytest.mark.usefixtures("ended")
def test_nothing_of_a_case_is_in_prefects_database(served: Served) -> None:
    """Its ids, codes and predictions, in the file and what SQLite keeps beside it."""
    kept = b"".join(file.read_bytes() for file in served.home.glob("prefect.db*"))
    assert b"compare-changed-cases" in kept
    snapshot = EmbeddingStore.open(served.store).snapshot()
    assert not re.findall(rb"lesion-\d{3}", kept)
    of_cases = [row["probabilities"] for row in snapshot.rows("predictions").to_pylist()]
    of_cases += [code for key in snapshot.code_sets for code in snapshot.codes(key).codes_nd[:, :8].tolist()]
    of_cases = [[value for value in values if 1e-3 < abs(value) % 1 < 1 - 1e-3] for values in of_cases]
    assert sum(map(len, of_cases)) > 100
    # Tables of results have four decimals, so that any longer number that is not of a clock would be a case's.
    decimals = [match.decode() for match in re.findall(rb"(?<![\d:.])-?\d\.\d{6,}", kept)]
    whole = {round(float(number), 9) for number in decimals if len(number.partition(".")[2]) >= 9}
    assert not whole & {round(value, 9) for values in of_cases for value in values}
    # Six digits of one of thousands of values are found by chance; two values of one case are not.
    cut = {round(float(number), 6) for number in decimals}
    assert not [values for values in of_cases if len({round(value, 6) for value in values} & cut) > 1]


@pytest.mark.usefixtures("ended")
def test_a_withdrawn_case_is_taken_out_of_prefects_database(served: Served) -> None:
    run = served.api.post("/flow_runs/filter", json={"limit": 1}).json()[0]["id"]
    for case in ("lesion-00", "lesion-001", "x.lesion-00", "lesion-00.nii"):
        log = {"name": "x", "level": 20, "message": f"of {case}: quarantined", "timestamp": "2026-01-01T00:00:00Z"}
        served.api.post("/logs/", json=[{**log, "flow_run_id": run}]).raise_for_status()
        shown = {"key": "named", "type": "table", "data": json.dumps([{"case": case}]), "flow_run_id": run}
        served.api.post("/artifacts/", json=shown).raise_for_status()
        failed = {"type": "FAILED", "message": f"case {case}: no image"}
        flow = served.api.post("/flows/", json={"name": "named"}).json()["id"]
        served.api.post("/flow_runs/", json={"flow_id": flow, "state": failed}).raise_for_status()
    database = served.home / "prefect.db"
    assert own_database(served.home) == database

    def named() -> set[bytes]:
        kept = b"".join(file.read_bytes() for file in served.home.glob("prefect.db*"))
        return set(re.findall(rb"[a-z.]*lesion-\d+[.a-z]*", kept))

    until(lambda: len(named()) == 4)
    assert forget_case(database, "lesion-00") >= 3
    until(lambda: not forget_case(database, "lesion-00"))  # events of the runs come a little later
    assert named() == {b"lesion-001", b"x.lesion-00", b"lesion-00.nii"}
    assert served.api.get("/health").json() is True


def _rows(artifact: dict[str, Any]) -> list[dict[str, Any]]:
    data = artifact["data"]
    return json.loads(data) if isinstance(data, str) else data


@pytest.mark.slow  # the next test opens the form, and the automation's run is a runner's too
@pytest.mark.prefect_pages
def test_a_colleague_retrains_in_the_browser(served: Served, page: Page, tmp_path: Path) -> None:
    """Deployments, retrain, Custom run, Submit; the page then shows what SQL says.

    PICTURES=docs makes the pictures of docs/serving.md anew.
    """
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    open_deployment(page, "retrain")
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_text("Custom run").click()

    page.get_by_label("Select Guidance").click()
    assert {"ridge", "autoencoder", "radpath-paper"} <= set(page.get_by_role("option").all_inner_texts())
    page.get_by_role("option", name="cca", exact=True).click()
    permutations = page.get_by_label("Permutations").first
    permutations.fill("-1")
    form = page.url
    page.get_by_role("button", name="Submit").click()
    assert "greater than or equal to 0" in permutations.evaluate("field => field.validationMessage")
    page.screenshot(path=pictures / "serve-form.png", full_page=True)
    assert page.url == form

    permutations.fill("2")
    page.get_by_label("Alias").first.fill("seen-in-the-browser")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").click()
    page.get_by_text("Completed", exact=True).first.wait_for()
    page.screenshot(path=pictures / "serve-run.png")
    (asked,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4,12}){4}", page.url))
    served.end_of(asked)  # a step says Completed too, and the tab lists what there is when it is opened
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link").filter(has_text="retrain-result").first.click()
    page.wait_for_url(re.compile("/artifacts/(key|artifact)/"))
    if "/artifacts/key/" in page.url:  # Prefect 3.8 goes by all results of that name, the newest first
        page.locator('a[href*="/artifacts/artifact/"]').first.click()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="G(I)+I", exact=True))
    row.wait_for()
    shown = row.get_by_role("cell").all_inner_texts()
    page.screenshot(path=pictures / "serve-result.png")

    run = EmbeddingStore.open(served.store).find_run("seen-in-the-browser").artifact
    asked = (
        "SELECT printf('%.3f', value) AS ba, guidance FROM metrics "
        f"WHERE run = '{run}' AND part = 'test' AND metric = 'balanced_accuracy'"
    )
    (stored,) = json.loads(guidestore("sql", asked, "--format", "json", "--store", served.store).stdout)
    assert stored["guidance"] == "cca"
    assert stored["ba"] in shown


@pytest.mark.prefect_pages
def test_the_page_of_codes_stands_beside_prefect(served: Served, page: Page) -> None:
    """Behind the same gate; from a deployment to it, and from a verdict to the form of retrain, filled in, whose
    browser refuses what the settings do."""
    root = str(served.api.base_url).removesuffix("/api/")
    for path in ("/explore", "/explore/", "/explore/data/overview"):
        assert httpx.get(f"{root}{path}", follow_redirects=True).status_code == 401
    open_deployment(page, "retrain")
    page.get_by_role("tab", name="Description").click()
    page.get_by_role("link", name="Codes and cases of the store").first.click()
    page.get_by_role("heading", name="Codes and cases").wait_for()
    assert page.url.startswith(f"{root}/explore/")
    page.get_by_role("link", name="skin", exact=True).first.click()
    page.get_by_role("button", name="Retrain on these codes").click()
    page.wait_for_url(re.compile("/deployments/deployment/.*/run"))
    page.get_by_text("clinical/made").first.wait_for()
    page.get_by_text("dermoscopy/made").first.wait_for()
    page.get_by_label("Select Guidance").click()
    assert {"ridge", "autoencoder", "radpath-paper"} <= set(page.get_by_role("option").all_inner_texts())
    page.keyboard.press("Escape")
    permutations = page.get_by_label("Permutations").first
    permutations.fill("-1")
    form = page.url
    page.get_by_role("button", name="Submit").click()
    assert "greater than or equal to 0" in permutations.evaluate("field => field.validationMessage")
    assert page.url == form
    page.goto(f"{root}/explore/")
    page.get_by_role("link", name="Flows").click()
    page.get_by_role("link", name="Deployments").first.wait_for()
    page.close()  # it would go on asking the server


@pytest.fixture(scope="module")
def long_runs(served: Served) -> tuple[str, str, float]:
    """A run that has trained some of its heads, and goes on; one that waits for its device; seconds until they did."""
    limits = {"name": f"guidestore-{socket.gethostname()}-cpu", "limit": 1}
    served.api.post("/v2/concurrency_limits/", json=limits).raise_for_status()
    taken = {"names": [limits["name"]], "slots": 1, "lease_duration": 300}
    served.api.post("/v2/concurrency_limits/increment-with-lease", json=taken).raise_for_status()
    asked = time.monotonic()
    waiting = served.start("encode", {"cohort": "skin", "modality": "clinical", "encoder": "colour_texture"})
    training = served.start("retrain", {**RETRAIN, "alias": "", "seeds": list(range(10, 10 + SEEDS))})
    until(lambda: "waiting until no other run encodes on cpu" in served.log(waiting))
    until(lambda: served.artifacts(training).get("progress", {"data": 0})["data"] > 0)
    return training, waiting, time.monotonic() - asked


def test_a_run_that_waits_for_its_device_is_cancelled_at_once(
    served: Served, long_runs: tuple[str, str, float]
) -> None:
    """test_server_restart.py cancels one that trains; the next test ends such a one."""
    training, waiting, starting_s = long_runs
    asked = time.monotonic()
    served.api.post(f"/flow_runs/{waiting}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
    assert served.end_of(waiting)["type"] == "CANCELLED"
    assert time.monotonic() - asked < max(20, 2 * starting_s), "Prefect's own way takes 30 s longer"
    until(lambda: len(served.processes()) == 3)
    assert served.state(training)["type"] == "RUNNING"


def test_ctrl_c_leaves_no_process_and_a_whole_store(served: Served, long_runs: tuple[str, str, float]) -> None:
    """It ends what the tests before use."""
    assert served.state(long_runs[0])["type"] == "RUNNING"
    until(lambda: len(served.processes()) == 3)  # the command, its server, and the run
    os.killpg(served.process.pid, signal.SIGINT)
    assert served.process.wait(60) == 0
    until(lambda: not served.processes())
    with pytest.raises(httpx.TransportError):
        served.api.get("/health")
    assert fsck(EmbeddingStore.open(served.store).storage).clean


@pytest.mark.slow  # test_snapshot_events.py and tests/packaging/test_installed.py have its parts
@pytest.mark.prefect_pages
def test_what_came_while_it_was_down_is_announced_and_what_was_switched_off_stays_so(
    served: Served, store: str, folder: Path
) -> None:
    """And where its Prefect server is killed, it ends with a sentence."""
    served.process.send_signal(signal.SIGTERM)  # where the test before was left out
    served.process.wait(60)
    with serving(store, folder, *QUIET) as before:
        until(lambda: automation(before))
        off = before.api.patch(f"/automations/{automation(before)['id']}", json={"enabled": False})
        off.raise_for_status()
        retrained = len(retrains(before))
        until(lambda: before.api.post("/variables/filter", json={}).json(), "it to note what it has told")
    while_down = add_cases(store, 40)

    def announced(name: str) -> int:
        return max((event["payload"]["snapshot"] for event in events(again, name)), default=0)

    with serving(store, folder, *QUIET) as again:
        until(lambda: announced("guidestore.snapshot.ready") == while_down)
        assert announced("guidestore.codes.committed") == while_down
        assert not automation(again)["enabled"]
        time.sleep(2)  # it would be there by now
        assert len(retrains(again)) == retrained, "nobody retrains what is switched off"

        os.kill(again.server(), signal.SIGKILL)
        assert again.process.wait(60) == 1  # it had told events: Prefect would try for 70 s to tell that it goes
        until(lambda: not again.processes())
    told = (folder / "stderr").read_text()
    assert told.startswith("error: the Prefect server ended with code -9"), told
    assert told.count("\n") == 1, told
