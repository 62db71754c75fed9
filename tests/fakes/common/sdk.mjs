// SPDX-License-Identifier: Apache-2.0
// What each sdk.mjs needs: its arguments, the installed packages, the fake's control side, and patience.
// usage of each: node sdk.mjs URL FOLDER_WITH_NODE_MODULES WORD…
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

export const [url, folder, ...words] = process.argv.slice(2);
export const require = createRequire(path.join(folder, "package.json"));

/** What the control side says to POST of `body`, or to GET. */
export async function control(name, body) {
  const answer = await fetch(`${url}/_fake/${name}`, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${name}: ${text}`);
  return JSON.parse(text);
}

/** The first thing that what() gives and is true. */
export async function until(what, why = what) {
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((wake) => setTimeout(wake, 10))) {
    const found = await what();
    if (found) return found;
  }
  return assert.fail(`waited in vain: ${why}`);
}
