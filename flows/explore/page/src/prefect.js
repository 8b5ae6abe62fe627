// Prefect's side of `guidestore serve`: links to it, and its form of `retrain` filled in.
import { h } from "./dom.js";

/** Where the newer or older of Prefect's two UIs is, as the server has it. */
async function uiBase() {
  const said = await fetch("/ui-settings").then((answer) => (answer.ok ? answer.json() : {}), () => ({}));
  return (said[`${said.default_ui}_base_url`] ?? "").replace(/\/$/, "");
}

/** A button that opens the form of `retrain`, as the verdict's head was trained; null where Prefect is not beside us. */
export function retrainButton(about, cohort, told) {
  if (!about.serve || !told.verdicts.length) return null;
  const row = told.verdicts[0];
  const settings = { cohort, target: row.target, split: row.split, inferior: row.inferior, superior: row.superior };
  const status = h("span", { role: "status" });
  const open = async () => {
    status.textContent = "Looking for the form …";
    try {
      const answer = await fetch("/api/deployments/name/retrain/retrain");
      if (!answer.ok) throw new Error();
      const { id } = await answer.json();
      location.assign(`${await uiBase()}/deployments/deployment/${id}/run?parameters=${encodeURIComponent(JSON.stringify({ settings }))}`);
    } catch {
      status.textContent = "Prefect has no form of retrain here";
    }
  };
  return h("p", {}, h("button", { type: "button", onclick: open }, "Retrain on these codes …"), " ", status);
}
