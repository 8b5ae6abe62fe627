// What the page asks its server, relative to where the page lies; and what a link says.

/** The page's state: all of it is in its address. */
export const asked = () => Object.fromEntries(new URLSearchParams(location.search));

/** The address of a page. The snapshot that is looked at stays. */
export function link(to) {
  const { at } = asked();
  const wanted = { ...(at ? { at } : {}), ...to };
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return `?${query}`;
}

let fixed = null;

/** From now on the page asks at this snapshot, whatever is committed meanwhile: cases go by their numbers in it. */
export const fix = (snapshot) => { fixed = snapshot; };

/** Changes what the address says without leaving the page. */
export function keep(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  history.replaceState(null, "", `?${query}`);
}

export function address(path, parameters) {
  const at = fixed ?? asked().at;
  const wanted = { ...(at ? { at } : {}), ...parameters };
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return `${path}?${query}`;
}

async function answered(path, parameters, signal) {
  let answer;
  try {
    answer = await fetch(address(path, parameters), { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: it was stopped, or is restarting");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    throw new Error(typeof said?.detail === "string" ? said.detail : `the server says ${answer.status}`);
  }
  return answer;
}

export async function get(path, parameters = {}, signal = undefined) {
  return (await answered(`data/${path}`, parameters, signal)).json();
}

export async function image(path, parameters) {
  return (await answered(`image/${path}`, parameters)).json();
}

const KINDS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };

/** {about, values}: a typed array. */
export async function numbers(path, parameters, signal = undefined) {
  const answer = await answered(`data/${path}`, parameters, signal);
  const about = JSON.parse(answer.headers.get("x-about"));
  return { about, values: new KINDS[about.dtype](await answer.arrayBuffer()) };
}
