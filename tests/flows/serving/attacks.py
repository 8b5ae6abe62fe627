"""Pages that attack a server from a browser, and what became of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STEP = {"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/never"}}

TRIES = """async ([root, deployment, step]) => {
  const out = {}
  const ask = async (name, method, path, body, more) => {
    try {
      const headers = {'content-type': 'application/json'}
      const given = body === undefined ? {} : {body: JSON.stringify(body), headers}
      const answer = await fetch(root + '/api' + path, {method, credentials: 'include', ...given, ...more})
      out[name] = answer.status
    } catch (error) { out[name] = 'failed' }
  }
  const run = '/deployments/' + deployment + '/create_flow_run'
  await ask('read', 'POST', '/deployments/filter', {})
  await ask('get', 'GET', '/deployments/' + deployment)
  await ask('logs', 'POST', '/logs/filter', {})
  await ask('patch', 'PATCH', '/deployments/' + deployment, {pull_steps: [step]})
  await ask('variables', 'POST', run, {job_variables: {env: {A: 'b'}}})
  await ask('settings', 'POST', run, {parameters: {settings: {store: '/'}}})
  await ask('unchecked', 'POST', run, {enforce_parameter_schema: false})
  await ask('deployment', 'POST', '/deployments/', {name: 'mine', flow_id: deployment})
  await ask('blocks', 'POST', '/block_documents/filter', {include_secrets: true})
  await ask('delete', 'DELETE', '/deployments/' + deployment)
  await ask('text', 'POST', run, {}, {headers: {'content-type': 'text/plain'}})
  await ask('blind', 'POST', run, {}, {mode: 'no-cors', headers: {}})
  for (const path of ['/events/in', '/events/out', '/logs/out', '/task_runs/subscriptions/scheduled'])
    out[path] = await new Promise(done => {
      const socket = new WebSocket(root.replace('http', 'ws') + '/api' + path, ['prefect'])
      socket.onopen = () => done('open')
      socket.onerror = () => done('failed')
    })
  return out
}"""
"""Called with the server's address, a deployment's id and a step. Name of a try -> status of the answer that the page
could read, or 'failed'."""

FORM = """<form method="post" enctype="text/plain" action="{action}"><input name='{{"name":"' value='"}}'></form>
<script>document.forms[0].submit()</script>"""


@contextmanager
def page_of(html: str) -> Iterator[int]:
    """A server of somebody else's page; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def facts_of(deployment: dict[str, Any]) -> str:
    """What an attack would change in a deployment."""
    return json.dumps({name: deployment[name] for name in ("pull_steps", "parameters", "entrypoint", "job_variables")})
