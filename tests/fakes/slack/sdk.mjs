// SPDX-License-Identifier: Apache-2.0
// What Slack's own libraries make of the fake: an app of Bolt's in Socket Mode and over HTTP, and a bare connection.
// usage: node sdk.mjs URL FOLDER BOT_TOKEN APP_TOKEN SIGNING_SECRET
import assert from "node:assert/strict";

import { control, require, until, url, words } from "../common/sdk.mjs";

const [botToken, appToken, signingSecret] = words;
const { App, LogLevel } = require("@slack/bolt");
const { SocketModeClient } = require("@slack/socket-mode");
const { WebClient } = require("@slack/web-api");

const clientOptions = { slackApiUrl: `${url}/api/`, retryConfig: { retries: 2, minTimeout: 50, maxTimeout: 100 } };
const card = (label) => [
  { type: "header", text: { type: "plain_text", text: "May this run?" } },
  { type: "actions", elements: [
    { type: "button", action_id: "press", text: { type: "plain_text", text: label }, value: "token-1", style: "primary" },
    { type: "button", action_id: "ask", text: { type: "plain_text", text: "Comment" }, value: "token-2" }] }];
const modal = { type: "modal", callback_id: "why", title: { type: "plain_text", text: "Why" }, submit: { type: "plain_text", text: "Go" },
  blocks: [{ type: "input", block_id: "comment", label: { type: "plain_text", text: "Comment" },
    element: { type: "plain_text_input", action_id: "comment" } }] };

function listeners(app, seen) {
  app.event("app_mention", async ({ event, say }) => {
    seen.mentions.push(event);
    await say({ text: "seen", blocks: card("Approve"), thread_ts: event.ts });
  });
  app.message(async ({ message }) => { seen.direct.push(message); });
  app.command("/berth", async ({ command, ack, respond }) => {
    await ack();
    seen.commands.push(command);
    await respond({ text: `you said ${command.text}`, response_type: "ephemeral" });
  });
  app.action("press", async ({ ack, body, client }) => {
    await ack();
    seen.clicks.push(body);
    await client.chat.update({ channel: body.channel.id, ts: body.message.ts, text: "decided", blocks: card("Approve").slice(0, 1) });
  });
  app.action("ask", async ({ ack, body, client }) => {
    await ack();
    await client.views.open({ trigger_id: body.trigger_id, view: { ...modal, private_metadata: body.actions[0].value } });
  });
  app.view("why", async ({ ack, body, view }) => {
    await ack();
    seen.submissions.push({ user: body.user.id, comment: view.state.values.comment.comment.value, meta: view.private_metadata });
  });
}

/** Everything an app does, whatever way it is reached. */
async function drive(channel, seen) {
  await control("channel", { id: channel, people: ["U1"] });
  const said = await control("say", { channel, user: "U1", text: "run make" });
  const reply = await until(async () => {
    const { messages } = await control(`channel/${channel}`);
    return messages.find((m) => m.thread_ts === said.ts && m.blocks);
  });
  assert.equal(reply.text, "seen");
  assert.equal(seen.mentions.at(-1).text.endsWith("run make"), true);
  await control("say", { channel: "D" + channel.slice(1), user: "U1", text: "hello" });
  await until(() => seen.direct.some((m) => m.text === "hello" && m.channel_type === "im"));
  await control("command", { channel, user: "U1", text: "leases" });
  await until(async () => (await control(`channel/${channel}`)).ephemeral.some((m) => m.text === "you said leases" && m.user === "U1"));
  assert.equal(seen.commands.at(-1).command, "/berth");
  await control("click", { channel, ts: reply.ts, user: "U1", button: "Comment" });
  const view = await until(async () => Object.keys(await control("views"))[0]);
  await control("submit", { view, comment: "not now" });
  await until(() => seen.submissions.some((s) => s.comment === "not now" && s.meta === "token-2" && s.user === "U1"));
  await control("click", { channel, ts: reply.ts, user: "U1", button: "Approve" });
  await until(async () => {
    const { messages } = await control(`channel/${channel}`);
    return messages.find((m) => m.ts === reply.ts && m.text === "decided" && m.blocks.length === 1);
  });
  assert.equal(seen.clicks.at(-1).actions[0].value, "token-1");
}
const nothing = () => ({ mentions: [], direct: [], commands: [], clicks: [], submissions: [] });

async function boltOverSockets() {
  const seen = nothing();
  const app = new App({ token: botToken, appToken, socketMode: true, clientOptions, logLevel: LogLevel.ERROR });
  listeners(app, seen);
  await app.start();
  await drive("C0SOCKETS1", seen);
  // A new connection before the old one ends, and nothing is lost between.
  await control("disconnect", { reason: "refresh_requested", close_after: 0.3 });
  await until(async () => (await control("state")).events.filter((e) => e[0] === "hello").length >= 2);
  await control("say", { channel: "C0SOCKETS1", user: "U1", text: "after" });
  await until(() => seen.mentions.some((m) => m.text.endsWith("after")));
  await app.stop();
}

async function boltOverHttp() {
  const seen = nothing();
  const app = new App({ token: botToken, signingSecret, clientOptions, logLevel: LogLevel.ERROR });
  listeners(app, seen);
  const server = await app.start(0);
  const port = server.address().port;
  await control("webhook", { url: `http://127.0.0.1:${port}/slack/events` });
  await drive("C0HTTPMODE", seen);
  const before = seen.mentions.length;
  const forged = await control("forge", { type: "events_api", secret: "another", payload: { type: "event_callback", event_id: "E", event: { type: "app_mention", text: "x" } } });
  assert.equal(forged.status, 401);
  const old = await control("forge", { type: "events_api", timestamp: "1700000000", payload: { type: "event_callback", event_id: "E", event: {} } });
  assert.equal(old.status, 401);
  assert.equal(seen.mentions.length, before);
  await control("webhook", { url: "" });
  await app.stop();
}

async function bareConnection() {
  const client = new SocketModeClient({ appToken, clientOptions, logLevel: LogLevel.ERROR });
  let times = 0;
  client.on("app_mention", async ({ ack, body, retry_num }) => {
    times += 1;
    if (times > 1) await ack(); // the first time it forgets to
    assert.equal(body.event.type, "app_mention");
    if (times > 1) assert.ok(retry_num >= 1);
  });
  await client.start();
  await control("line", { ack_within: 0.3 });
  await control("say", { channel: "C0BARE0001", user: "U1", text: "again" });
  await until(() => times === 2);
  await until(async () => (await control("state")).waiting === 0);
  await client.disconnect();
}

async function webApi() {
  const client = new WebClient(botToken, clientOptions);
  assert.equal((await client.auth.test()).team_id, "T0BERTH001");
  await control("channel", { id: "C0WEBAPI01", people: ["U1"] });
  const posted = await client.chat.postMessage({ channel: "C0WEBAPI01", text: "one", metadata: { event_type: "x", event_payload: { key: "k" } } });
  const page = await client.conversations.history({ channel: "C0WEBAPI01", include_all_metadata: true });
  assert.equal(page.messages[0].metadata.event_payload.key, "k");
  assert.equal((await client.conversations.history({ channel: "C0WEBAPI01" })).messages[0].metadata, undefined);
  await client.filesUploadV2({ channel_id: "C0WEBAPI01", thread_ts: posted.ts, filename: "a.log", content: "all of it" });
  const replies = await client.conversations.replies({ channel: "C0WEBAPI01", ts: posted.ts });
  assert.equal(replies.messages.some((m) => m.files?.[0].name === "a.log"), true);
  const refused = async (call, code) => assert.rejects(call, (error) => error.data?.error === code);
  await refused(client.chat.postMessage({ channel: "C0NOWHERE1", text: "x" }), "channel_not_found");
  await refused(client.chat.postMessage({ channel: "C0WEBAPI01", text: "x", blocks: [{ type: "header", text: { type: "plain_text", text: "x".repeat(151) } }] }), "invalid_blocks");
  await refused(client.chat.update({ channel: "C0WEBAPI01", ts: "1.1", text: "x" }), "message_not_found");
  await refused(new WebClient("xoxb-wrong", clientOptions).auth.test(), "invalid_auth");
  // 429 is obeyed, 5xx tried again.
  await control("faults", { faults: [{ method: "chat.postMessage", kind: "429", retry_after: 1 }, { method: "chat.postMessage", kind: "500_before" }] });
  const began = Date.now();
  await client.chat.postMessage({ channel: "C0WEBAPI01", text: "late" });
  assert.ok(Date.now() - began >= 1000);
}

await webApi();
await bareConnection();
await boltOverSockets();
await boltOverHttp();
const { flaws } = await control("state");
assert.deepEqual(flaws.filter((f) => !f.includes("invalid_blocks")), []);
console.log("Slack's libraries take the fake for Slack");
process.exit(0);
